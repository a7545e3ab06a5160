"""RabbitMQ on Debian and Ubuntu without installing it: the distribution's packages, unpacked into a cache folder.

Needs no root. The folder is kept, so its 33 MB are downloaded once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from task_bus.testing._binaries import RabbitBinaries, find_below
from task_bus.testing._server import NoServerError

COMMAND_SECONDS = 300

_AS_ROOT = ("-o", "APT::Sandbox::User=root")
"""Makes apt, when root runs it, download as root: by default it becomes a user who may not write into our folders."""


def cache_folder() -> Path:
    """Return where unpacked servers are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "task-bus"


def unpack(say: Callable[[str], None], cache: Path | None = None) -> RabbitBinaries | None:
    """Return the server in the cache, which is filled now if it is empty; None where there is no apt.

    `say` is called with a line of text when packages are downloaded. Two processes may run it at once.

    Raises:
        NoServerError: a package could not be downloaded or unpacked.

    """
    if not all(map(shutil.which, ("apt-get", "apt-cache", "dpkg"))):
        return None
    folder = (cache or cache_folder()) / "rabbitmq"
    if (found := find_below(folder)) is not None:
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    say(f"RabbitMQ: unpacking this distribution's packages into {folder} (some 33 MB, once; installs nothing)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        root = _unpack(_load(Path(name)), folder)
        with suppress(OSError):  # another process was faster
            root.rename(folder)
    return find_below(folder)


def _load(work: Path) -> Path:
    """Download the packages by the machine's package lists, or by lists of our own, and return their folder."""
    archives = work / "archives"
    archives.mkdir()
    try:
        _download([], archives)
    except NoServerError:
        _download(_own_lists(work), archives)
    return archives


def _own_lists(work: Path) -> list[str]:
    """Download package lists into a folder of ours, and return the options that make apt use them."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    options = ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work / 'cache'}", *_AS_ROOT]
    _run("apt-get", *options, "-qq", "update")
    return options


def _download(options: list[str], archives: Path) -> None:
    kinds = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = _run("apt-cache", *options, "depends", "--recurse", *kinds, "rabbitmq-server").split("\n")
    # A machine with Python has the other dependencies: libc, libssl, zlib.
    packages = sorted(name for name in listed if name == "rabbitmq-server" or name.startswith("erlang-"))
    _run("apt-get", *options, *_AS_ROOT, "-qq", "download", *packages, folder=archives)


def _unpack(archives: Path, home: Path) -> Path:
    """Unpack into a folder that will be moved to `home`, and return it."""
    root = archives.parent / "root"
    for archive in sorted(archives.glob("*.deb")):
        _run("dpkg", "-x", str(archive), str(root))
    for script in [root / "usr/lib/erlang/bin/erl", *root.glob("usr/lib/erlang/erts-*/bin/erl")]:
        script.write_text(script.read_text().replace("ROOTDIR=/usr", f"ROOTDIR={home}/usr"))
    return root


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(  # noqa: S603 # apt and dpkg, found on the PATH
        command, cwd=folder, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise NoServerError(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout
