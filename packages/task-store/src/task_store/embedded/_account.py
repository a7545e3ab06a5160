"""Chooses the account that the server runs as.

PostgreSQL refuses to run as root, so for root it is one of these:

1. A user namespace in which root has the name `nobody` (`unshare`). The files still belong to root, and the server can
   read every folder that root can read.
2. Where namespaces are forbidden (in most containers), the user `nobody` itself with one capability: to pass through
   root's folders (`setpriv`), since programs and data are often below a home that only root may enter. The server can
   then read as much as in 1. Other processes of `nobody` cannot reach it: the folder of its files and the folder of its
   socket belong to root alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from task_store.embedded._binaries import PostgresBinaries
from task_store.embedded.errors import NoServerAccountError

_TRIAL_SECONDS = 10.0
_CAPABILITY = "-all,+dac_override"
_SECUREBITS = "+no_setuid_fixup"
"""Otherwise access(2), which PostgreSQL asks whether it may run its programs, ignores the capability."""


@dataclass(frozen=True)
class Account:
    """The owner of the server's files, as this process sees it, and the words before a command that run it as that."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def choose_account(binaries: PostgresBinaries, owner_uid: int | None = None) -> Account:
    """Return an account that can run `binaries`: as `owner_uid`, if there are files of that owner already.

    Raises:
        NoServerAccountError: this process cannot run a server as that owner; or it is root and cannot at all.

    """
    accounts = list(_accounts())
    suitable = [account for account in accounts if owner_uid in {None, account.uid}]
    for account in suitable:
        if works(account, binaries):
            return account
    if accounts and not suitable:
        raise NoServerAccountError(
            f"the database files belong to user {owner_uid}, and this is user {os.geteuid()}: start it as that user"
        )
    raise NoServerAccountError(
        "PostgreSQL refuses to run as root, and neither a user namespace (unshare) nor the user nobody (setpriv)"
        " can be used here: start it as an ordinary user"
    )


def _accounts() -> Iterator[Account]:
    if os.geteuid() != 0:
        yield Account(os.geteuid(), os.getegid())
        return
    # The user must exist, since initdb looks up its name. 1000, the usual choice, exists in no slim image.
    nobody = min((user for user in pwd.getpwall() if user.pw_uid != 0), key=lambda user: user.pw_name != "nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    if unshare := shutil.which("unshare"):
        yield Account(0, 0, (unshare, "--user", f"--map-user={uid}", f"--map-group={gid}"))
    if setpriv := shutil.which("setpriv"):
        become = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
        keep = (f"--inh-caps={_CAPABILITY}", f"--ambient-caps={_CAPABILITY}", f"--bounding-set={_CAPABILITY}")
        yield Account(uid, gid, (setpriv, *become, *keep, f"--securebits={_SECUREBITS}"))


def works(account: Account, binaries: PostgresBinaries) -> bool:
    """Return whether a program can run as `account`, by running `postgres --version`."""
    try:
        trial = subprocess.run(  # noqa: S603 # fixed programs of this machine
            [*account.prefix, binaries.program("postgres"), "--version"],
            capture_output=True,
            timeout=_TRIAL_SECONDS,
            check=False,
            cwd="/",
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return trial.returncode == 0
