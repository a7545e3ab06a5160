"""An ordinary user to run a command as, where the tests themselves run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TRIAL_SECONDS = 20.0
_READ = "-all,+dac_read_search"
_READS_ALL = (
    *(f"--{kind}-caps={_READ}" for kind in ("inh", "ambient")),
    f"--bounding-set={_READ}",
    "--securebits=+no_setuid_fixup",  # else access(2), by which programs are found, takes no notice of it
)


@dataclass(frozen=True)
class OrdinaryUser:
    """What stands before a command to run it as this user, and who its files must belong to."""

    prefix: tuple[str, ...]
    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Give it a folder."""
        os.chown(folder, self.uid, self.gid)


def ordinary_user() -> OrdinaryUser:
    """Return a user who is not root and may run this environment's Python.

    That is ourselves; else `nobody`; else, where Python lies in root's home, root under another number, in a namespace
    in which it is no longer root; else `nobody` who may read everything.

    Raises:
        AssertionError: there is none.

    """
    for user in _users():
        if _works(user):
            return user
    raise AssertionError(
        "no ordinary user can run this Python: install it outside root's home, or allow `unshare` or `setpriv`"
    )


def _users() -> Iterator[OrdinaryUser]:
    if os.geteuid() != 0:
        yield OrdinaryUser((), os.geteuid(), os.getegid())
        return
    nobody = pwd.getpwnam("nobody")
    setpriv = shutil.which("setpriv")
    become = (setpriv or "", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    if setpriv:
        yield OrdinaryUser(become, nobody.pw_uid, nobody.pw_gid)
    if unshare := shutil.which("unshare"):
        yield OrdinaryUser((unshare, "--user", "--map-user=1000", "--map-group=1000"), 0, 0)
    if setpriv:
        yield OrdinaryUser((*become, *_READS_ALL), nobody.pw_uid, nobody.pw_gid)


def _works(user: OrdinaryUser) -> bool:
    # What is imported says whether the environment and the checkout can be read, and which Python it is, whether the
    # right one was found: `setpriv` looks for another where it may not run the one that it was told.
    probe = f"import sys, task_service; sys.exit(sys.version != {sys.version!r})"
    trial = subprocess.run(
        [*user.prefix, sys.executable, "-c", probe], capture_output=True, timeout=_TRIAL_SECONDS, check=False
    )
    return trial.returncode == 0
