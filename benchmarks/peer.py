"""A peer as its file describes it, and the environment in which that file runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

FOLDER = Path(__file__).parent / "peers"
BARE = FOLDER / "bare_insert.py"
"""What the service's API is compared with: no peer, since nothing runs its tasks."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "task-service-benchmarks"
"""What is kept from run to run outside the tree: packages of Node, worktrees of other commits."""

_HEADER = re.compile(r"^(?://|#) /// script$\n(?P<lines>(?:^(?://|#)(?: .*)?$\n)+?)^(?://|#) ///$", re.MULTILINE)
_INSTALL_SECONDS = 600


class PeerUnavailableError(Exception):
    """A peer cannot be run on this machine. The text says why, in one line."""


@dataclass(frozen=True)
class Peer:
    """One system: the header of its file, which is inline script metadata (PEP 723) with a table `tool.benchmark`."""

    script: Path
    title: str
    """Its name and version, for the page."""
    pages: tuple[str, ...]
    """Where its documentation says how it is configured here."""
    how: str
    """That configuration in a few words."""
    needs: tuple[str, ...]
    """The servers that it needs: postgres, rabbitmq, redis."""
    drained: int
    """How many tasks it drains in a full run: fewer if it is slow."""
    outcomes: str
    """How to count the tasks whose end is stored: an SQL query, or `redis COMMAND …` that answers with a number."""
    drained_many: int | None = None
    """How many it drains once more, if it is quick."""
    finished: str | None = None
    """An SQL query for the id of each task and the time at which its end was stored, in seconds since 1970."""
    workers: str | None = None
    """An SQL query for the number of workers of which a task has ended; for peers that drain by several processes."""
    postgres_min: int = 14
    """The oldest major version of PostgreSQL that it runs on."""
    by_default: bool = True
    """Whether it is part of a run without `--all`."""
    in_workspace: bool = False
    """Whether it runs in the environment of the workspace; in one of its own otherwise."""
    is_served: bool = False
    """Whether it has a server over HTTP, by which tasks are enqueued."""
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""

    @property
    def name(self) -> str:
        """The first word of its file's name."""
        return self.script.stem.removesuffix("_tasks")

    @classmethod
    def read(cls, script: Path) -> Peer:
        """Return the peer of a file."""
        found = _HEADER.search(script.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{script} does not begin with inline script metadata")
        lines = (re.sub(r"^(//|#) ?", "", line) for line in found["lines"].splitlines())
        header = tomllib.loads("\n".join(lines))
        fields: dict[str, Any] = header["tool"]["benchmark"]
        fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(
            script,
            dependencies=tuple(header.get("dependencies", ())),
            requires_python=header.get("requires-python", ""),
            **fields,
        )

    def install(self) -> tuple[str, ...]:
        """Make its environment, or find it in the cache, and return the command that runs its file.

        Raises:
            PeerUnavailableError: a program is missing, or a package cannot be installed.

        """
        if self.in_workspace:
            return sys.executable, str(self.script)
        return self._install_node() if self.script.suffix == ".mjs" else self._install_python()

    def _install_python(self) -> tuple[str, ...]:
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        # The Python that the service runs on, so that none gains by a newer one.
        python = ("--python", ours) if SpecifierSet(self.requires_python).contains(ours) else ()
        environment = outside_environment()
        _run(["uv", "sync", "-q", "--script", str(self.script), *python], environment)
        found = _run(["uv", "python", "find", "--script", str(self.script)], environment)
        return found.strip(), str(self.script)

    def _install_node(self) -> tuple[str, ...]:
        node = shutil.which("node")
        if node is None or shutil.which("npm") is None:
            raise PeerUnavailableError("Node and npm are not installed")
        key = hashlib.sha256(" ".join(self.dependencies).encode()).hexdigest()[:16]
        folder = CACHE / "node" / f"{self.name}-{key}"
        if not (folder / "node_modules").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _run(["npm", "install", "--silent", "--no-save", "--prefix", str(folder), *self.dependencies])
        for script in FOLDER.glob("*.mjs"):  # Node looks for packages beside the file that imports them
            shutil.copy(script, folder)
        return node, str(folder / self.script.name)


def outside_environment() -> dict[str, str]:
    """Return the variables of this process, but for those that tell uv to use the environment that it runs in."""
    ours = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def peers() -> dict[str, Peer]:
    """Return all peers by their names, this service first."""
    found = [Peer.read(path) for path in sorted(FOLDER.glob("*_tasks.*"))]
    return {peer.name: peer for peer in sorted(found, key=lambda peer: (not peer.in_workspace, peer.name))}


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise PeerUnavailableError(f"{' '.join(command[:2])} failed: {' '.join(last)}")
    return done.stdout
