"""Releases one member of the workspace: its version, its changelog, a commit and a tag. Nothing is pushed.

    uv run nox -s release -- task-client minor      # or major, patch, or a version: 0.2.0
    python tools/release.py notes task-client-v0.2.0

**Invariants.** Everything that can be wrong is checked before anything is written. If writing, locking, committing or
tagging still fails, the files and the branch are restored.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import Version

from changelog import ChangelogError, entries, with_entry, with_release
from members import ROOT, Member, bounds, members

BRANCH = "main"
STEPS = ("major", "minor", "patch")
VERSION = r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}"


class ReleaseError(Exception):
    """What is wrong, in one line."""


@dataclass(frozen=True)
class Release:
    """One member at its next version."""

    member: Member
    version: Version
    dependants: list[Member]
    """The members whose bounds exclude this version. Their bounds are raised with it."""

    @property
    def tag(self) -> str:
        """The name of the release in git."""
        return f"{self.member.name}-v{self.version}"

    def texts(self) -> dict[Path, str]:
        """Return the new text of each file that changes, except for the version and uv.lock: uv writes those."""
        member, today = self.member, datetime.now(UTC).date()
        texts = {member.changelog: with_release(member.changelog.read_text(), str(self.version), today)}
        entry = f"- Needs {member.name}{bounds(self.version)}."
        for other in self.dependants:
            texts[other.manifest] = other.manifest_moved(member, self.version)
            texts[other.changelog] = with_entry(other.changelog.read_text(), entry)
        return texts


def main() -> int:
    """Run the command line; return 0, or 2 after one line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="release", description="Releases one member of the workspace.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("cut", help="bump, write the changelog's heading, commit and tag")
    command.add_argument("member", help="task-client, for example")
    command.add_argument("step", help=f"{', '.join(STEPS)}, or a version")
    command.set_defaults(run=lambda given: cut(given.member, given.step))
    command = commands.add_parser("notes", help="print what a tagged release says of itself")
    command.add_argument("tag", help="task-client-v0.2.0, for example")
    command.set_defaults(run=lambda given: notes(given.tag))
    given = parser.parse_args()
    try:
        print(given.run(given))
    except (ReleaseError, ChangelogError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    return 0


def cut(name: str, step: str) -> str:
    """Commit and tag a release; return what to do next.

    Raises:
        ChangelogError: a changelog is not of its form; nothing has changed.
        ReleaseError: something else is wrong; nothing has changed.

    """
    member = member_named(name)
    version = next_version(member, step)
    release = Release(member, version, [m for m in members().values() if not m.admits(member, version)])
    check_repository(release)
    check_entries(release)
    check_bounds(release)
    carry_out(release, release.texts())
    lines = [f"committed and tagged; to publish it: git push --atomic origin {BRANCH} {release.tag}"]
    if release.dependants:
        lines.append(f"moved on to {name} {version}, to be released next: {listed(release.dependants)}")
    if unreleased := [m for m in members().values() if member.bounds_on(m) and entries(m.changelog.read_text())]:
        lines.append(f"with unreleased changes that {name} may need: {listed(unreleased)}")
    return "\n".join(lines)


def notes(tag: str) -> str:
    """Return the section of the changelog that belongs to a tag.

    Raises:
        ChangelogError: the changelog is not of its form.
        ReleaseError: the tag is not one of a release, or does not fit the member's version or changelog.

    """
    match = re.fullmatch(rf"(?P<name>.+)-v(?P<version>{VERSION})", tag)
    if match is None:
        raise ReleaseError(f"{tag} is not of the form task-client-v0.2.0")
    member, version = member_named(match["name"]), match["version"]
    if member.version != Version(version):
        raise ReleaseError(f"{tag} does not fit {path(member.manifest)}, which says {member.version}")
    section = entries(member.changelog.read_text(), version)
    if not section:
        raise ReleaseError(f"{path(member.changelog)} says nothing about {version}")
    return section


def member_named(name: str) -> Member:
    """Return the member of this name.

    Raises:
        ReleaseError: there is none.

    """
    known = members()
    if name not in known:
        raise ReleaseError(f"{name} is no member; these are: {', '.join(known)}")
    return known[name]


def next_version(member: Member, step: str) -> Version:
    """Return the version that `step` leads to. It may name the present version, which is right for a first release."""
    if step in STEPS:
        return Version(
            run("uv", "version", "--package", member.name, "--bump", step, "--short", "--dry-run", "--frozen")
        )
    if not re.fullmatch(VERSION, step):
        raise ReleaseError(f"{step} is none of {', '.join(STEPS)} and no version like 0.2.0")
    if Version(step) < member.version:
        raise ReleaseError(f"{step} is below {member.version}, the version of {member.name}")
    return Version(step)


def check_repository(release: Release) -> None:
    """Refuse unless this is the main branch, the tree is clean and the tag is free."""
    if (branch := run("git", "branch", "--show-current")) != BRANCH:
        raise ReleaseError(f"releases are cut on {BRANCH}, and this is {branch or 'no branch'}")
    if run("git", "status", "--porcelain"):
        raise ReleaseError("the tree is not clean: commit or stash what `git status` shows")
    if has_tag(release.tag):
        raise ReleaseError(f"the tag {release.tag} exists")


def check_entries(release: Release) -> None:
    """Refuse if its changelog has nothing unreleased, or has this version already."""
    changelog, version = release.member.changelog, str(release.version)
    if not entries(changelog.read_text()):
        raise ReleaseError(f"{path(changelog)} has nothing unreleased: say what is new")
    if entries(changelog.read_text(), version):
        raise ReleaseError(f"{path(changelog)} has {version} already")


def check_bounds(release: Release) -> None:
    """Refuse if a member excludes the new version by bounds that were chosen by hand."""
    member = release.member
    if fixed := [other for other in release.dependants if not other.can_move(member)]:
        declared = ", ".join(f"{other.name} ({'; '.join(other.bounds_on(member))})" for other in fixed)
        ours = member.name + bounds(member.version)
        raise ReleaseError(f"{release.version} is refused by {declared}; only bounds like {ours} are moved on")


def carry_out(release: Release, texts: dict[Path, str]) -> None:
    """Write, lock, commit and tag. If one of these fails, restore everything and raise its error."""
    name, version = release.member.name, str(release.version)
    paths = [path(changed) for changed in sorted({*texts, release.member.manifest, ROOT / "uv.lock"})]
    before = run("git", "rev-parse", "HEAD")
    try:
        for changed, text in texts.items():
            changed.write_text(text)
        run("uv", "version", "--package", name, version, "--no-sync")
        run("git", "commit", "-m", f"{name}: release {version}", "--", *paths)
        run("git", "tag", "-a", release.tag, "-m", f"{name} {version}")
    except BaseException:  # Ctrl-C too
        if has_tag(release.tag):
            run("git", "tag", "-d", release.tag)
        run("git", "reset", "-q", "--soft", before)
        run("git", "restore", "--staged", "--worktree", "--", *paths)
        raise


def has_tag(tag: str) -> bool:
    """Return whether this repository has the tag."""
    return bool(run("git", "tag", "--list", tag))


def run(*command: str) -> str:
    """Run a command in the root; return what it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"`{' '.join(command[:2])}` failed: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def path(absolute: Path) -> str:
    """Return a path relative to the root."""
    return str(absolute.relative_to(ROOT))


def listed(some: list[Member]) -> str:
    """Return the names of some members, for a sentence."""
    return ", ".join(member.name for member in some)


if __name__ == "__main__":
    sys.exit(main())
