"""The version before today's migrations: found in the history, built, and installed beside today's.

It has some of today's migrations, from the first on, and not all of them. The newest tag that is so comes first: what
was released is what runs somewhere. Without one it is the newest commit that is so, which is the one before the newest
migration. Only the commits of `git log --first-parent` count: what a branch was before its merge never ran anywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = "migrations/src/task_migrations/alembic/versions"
"""Where the migrations are, in every version. Their files sort as their revisions do."""

_REVISION = re.compile(r"^revision = ['\"](\w+)['\"]", re.MULTILINE)
_GIT_SECONDS = 60
_BUILD_SECONDS = 180
"""In which all that the lock file names may have to be downloaded; else it takes a second."""


class NoEarlierVersionError(Exception):
    """There is no version to compare with; the text says why, and what to do."""


@dataclass(frozen=True)
class EarlierVersion:
    """A commit, the tag or commit that people know it by, and the revisions of its migrations."""

    commit: str
    name: str
    revisions: tuple[str, ...]


@dataclass(frozen=True)
class Installed:
    """A version in an environment of its own."""

    version: EarlierVersion
    environment: Path

    def command(self, name: str) -> str:
        """Return the path of one of its commands, such as `task-api`."""
        return str(self.environment / "bin" / name)


def revisions_today(root: Path = ROOT) -> tuple[str, ...]:
    """Return the revisions of the migrations as the files are now, committed or not, oldest first."""
    return tuple(
        revision for file in sorted((root / VERSIONS).glob("*.py")) for revision in _REVISION.findall(file.read_text())
    )


def find_earlier(root: Path = ROOT) -> EarlierVersion:
    """Return the version before today's migrations.

    Raises:
        NoEarlierVersionError: there is none, or the history is not here.

    """
    today = revisions_today(root)
    if len(today) == 1:
        raise NoEarlierVersionError(f"{today[0]} is the only migration: no version has less of the schema")
    if _git(root, "rev-parse", "--is-shallow-repository") != "false\n":
        raise NoEarlierVersionError(
            "this clone is shallow, and the earlier version may be in what it lacks:"
            " `git fetch --unshallow --tags`, in a workflow `fetch-depth: 0`"
        )
    for name in _candidates(root):
        revisions = _revisions_of(root, name)
        if revisions and len(revisions) < len(today) and revisions == today[: len(revisions)]:
            return EarlierVersion(_git(root, "rev-parse", f"{name}^{{commit}}").strip(), name, revisions)
    raise NoEarlierVersionError(
        f"no tag and no commit has the first of today's migrations ({', '.join(today)}) without the newest: one that"
        " was committed has another revision now, though migrations only expand"
    )


def install(version: EarlierVersion, folder: Path, root: Path = ROOT) -> Installed:
    """Build the wheels of a version and install them, with what its lock file names, in an environment in `folder`.

    As the images do it: the workspace is synchronised from its lock file, and no member is editable.

    Raises:
        subprocess.CalledProcessError: it could not be built; standard error says why.

    """
    source, environment = folder / "source", folder / "environment"
    source.mkdir(parents=True)
    archive = folder / "source.tar"
    _git(root, "archive", "--output", str(archive), version.commit)
    subprocess.run(["tar", "-xf", archive, "-C", source], check=True, timeout=_GIT_SECONDS)
    subprocess.run(
        ["uv", "sync", "-q", "--frozen", "--all-packages", "--no-dev", "--no-editable", f"--python={sys.executable}"],
        cwd=source,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)},
        check=True,
        timeout=_BUILD_SECONDS,
    )
    return Installed(version, environment)


def _candidates(root: Path) -> Iterator[str]:
    """Yield what may be the earlier version, the likeliest first: tags, and commits before a change of migrations."""
    yield from _git(root, "tag", "--merged", "HEAD", "--sort=-creatordate").split()
    yield "HEAD"  # where today's newest migration is not committed yet
    for line in _git(root, "log", "--first-parent", "--format=%P", "--", VERSIONS).splitlines():
        yield from line.split()[:1]


def _revisions_of(root: Path, name: str) -> tuple[str, ...]:
    """Return the revisions of the migrations of a commit, oldest first; nothing where it has none."""
    files = _git(root, "ls-tree", "--name-only", name, f"{VERSIONS}/").split()
    texts = (_git(root, "show", f"{name}:{file}") for file in files if file.endswith(".py"))
    return tuple(revision for text in texts for revision in _REVISION.findall(text))


def _git(root: Path, *words: str) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook's, say
    done = subprocess.run(
        ["git", "-C", str(root), *words], env=ours, capture_output=True, text=True, check=True, timeout=_GIT_SECONDS
    )
    return done.stdout
