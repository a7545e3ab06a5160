"""Releases cut in copies of this project: what a release changes, and when it is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CHANGELOG = "packages/task-client/CHANGELOG.md"
MANIFEST = "packages/task-client/pyproject.toml"
WORKER = "services/worker/pyproject.toml"
ENV = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "VIRTUAL_ENV"))}
ENV |= {f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENV |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}  # the user's may sign commits


@dataclass(frozen=True)
class Clone:
    """The project in a repository of its own."""

    root: Path

    def run(self, *command: str, **env: str) -> str:
        """Run a command that must succeed; return what it prints."""
        done = subprocess.run(command, cwd=self.root, env=ENV | env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refused(self, *words: str, **env: str) -> str:
        """Run the release tool, which must refuse with one line; return that line."""
        command = [sys.executable, "tools/release.py", *words]
        done = subprocess.run(command, cwd=self.root, env=ENV | env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        return done.stderr

    def release(self, *words: str) -> str:
        """Run the release tool, which must succeed; return what it prints."""
        return self.run(sys.executable, "tools/release.py", *words)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that the file has exactly once."""
        text = (self.root / path).read_text()
        assert text.count(old) == 1
        (self.root / path).write_text(text.replace(old, new))

    def commit(self) -> None:
        """Commit every change."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "-q", "-m", "a change")

    def state(self) -> list[str]:
        """Return everything that a release could change: branch, commit, tags, index and files."""
        asked = ["branch --show-current", "rev-parse HEAD", "tag --list", "status --porcelain", "diff HEAD"]
        return [self.run("git", *one.split()) for one in asked]

    def versions(self) -> dict[str, str]:
        """Return the version of each member by name."""
        projects = [tomllib.loads(manifest.read_text())["project"] for manifest in manifests(self.root)]
        return {project["name"]: project["version"] for project in projects}

    def changed(self) -> set[str]:
        """Return the files of its last commit."""
        return set(self.run("git", "diff", "--name-only", "HEAD~1", "HEAD").splitlines())


def manifests(root: Path) -> list[Path]:
    """Return the manifest of each member."""
    return [
        path
        for folders in ("packages/*", "services/*", "migrations")
        for path in root.glob(f"{folders}/pyproject.toml")
    ]


def after(version: str, step: str) -> str:
    """Return the version that a step leads to."""
    major, minor, patch = (int(part) for part in version.split("."))
    return {"major": f"{major + 1}.0.0", "minor": f"{major}.{minor + 1}.0", "patch": f"{major}.{minor}.{patch + 1}"}[
        step
    ]


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The project as it is in the working tree, with something unreleased in each member."""
    clone = Clone(tmp_path_factory.mktemp("origin"))
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in [name for name in names if (PROJECT / name).is_file()]:
        (clone.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, clone.root / name)
    for manifest in manifests(clone.root):
        name = tomllib.loads(manifest.read_text())["project"]["name"]
        manifest.with_name("CHANGELOG.md").write_text(f"# Changelog of {name}\n\n## Unreleased\n\n- A change.\n")
    clone.run("git", "init", "-q", "-b", "main")
    clone.commit()
    return clone


@pytest.fixture
def clone(origin: Clone, tmp_path: Path) -> Clone:
    """A clone of `origin`, for one test."""
    origin.run("git", "clone", "-q", str(origin.root), str(tmp_path / "clone"))
    return Clone(tmp_path / "clone")


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """Let child processes receive SIGINT: background jobs of a shell script ignore it otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("manifest", manifests(PROJECT), ids=lambda manifest: manifest.parent.name)
def test_every_changelog_keeps_a_place_for_what_is_unreleased(manifest: Path) -> None:
    title, _, rest = manifest.with_name("CHANGELOG.md").read_text().partition("\n\n")
    name = tomllib.loads(manifest.read_text())["project"]["name"]

    assert (title, rest.splitlines()[0]) == (f"# Changelog of {name}", "## Unreleased")


def test_a_patch_changes_its_own_member_alone(clone: Clone) -> None:
    before = clone.versions()

    clone.release("cut", "task-contracts", "patch")

    version = after(before["task-contracts"], "patch")
    assert clone.versions() == before | {"task-contracts": version}
    assert clone.changed() == {
        "packages/task-contracts/CHANGELOG.md",
        "packages/task-contracts/pyproject.toml",
        "uv.lock",
    }
    changelog = (clone.root / "packages/task-contracts/CHANGELOG.md").read_text()
    heading = f"## {version} ({datetime.now(UTC).date()})"
    assert changelog == f"# Changelog of task-contracts\n\n## Unreleased\n\n{heading}\n\n- A change.\n"
    assert clone.run("git", "log", "-1", "--format=%s") == f"task-contracts: release {version}"
    assert clone.run("git", "cat-file", "-t", f"task-contracts-v{version}") == "tag"
    assert clone.run("git", "rev-parse", f"task-contracts-v{version}^{{commit}}") == clone.run(
        "git", "rev-parse", "HEAD"
    )
    clone.run("uv", "lock", "--check")


def test_one_member_is_bumped_alone_and_the_wheels_of_all_fit_together(clone: Clone, tmp_path: Path) -> None:
    before = clone.versions()

    said = clone.release("cut", "task-client", "minor")
    clone.run("uv", "build", "-q", "--all-packages", "--wheel", "--no-sources", "-o", str(tmp_path / "dist"))
    clone.run("uv", "venv", "-q", str(tmp_path / "venv"))
    in_venv = {"VIRTUAL_ENV": str(tmp_path / "venv")}
    clone.run("uv", "pip", "install", "-q", *map(str, (tmp_path / "dist").glob("*.whl")), **in_venv)

    clone.run("uv", "pip", "check", **in_venv)
    listed = json.loads(clone.run("uv", "pip", "list", "--format=json", **in_venv))
    installed = {package["name"]: package["version"] for package in listed}
    assert clone.versions() == before | {"task-client": after(before["task-client"], "minor")}
    assert clone.versions().items() <= installed.items()
    assert "task-api, task-worker" in said


def test_whoever_moves_on_does_so_in_groups_and_extras_too_and_says_it(clone: Clone) -> None:
    clone.release("cut", "task-store", "1.0.0")

    manifest = clone.root / "services/api/pyproject.toml"
    assert '"task-store>=1.0,<2"' in manifest.read_text()
    assert '"task-store[testing]>=1.0,<2"' in manifest.read_text()
    changelog = manifest.with_name("CHANGELOG.md").read_text()
    assert changelog == "# Changelog of task-api\n\n## Unreleased\n\n- A change.\n- Needs task-store>=1.0,<2.\n"


def test_a_breaking_release_stops_at_a_member_that_is_held_back(clone: Clone) -> None:
    held = f"task-client=={clone.versions()['task-client']}"
    bounds = next(line for line in (clone.root / WORKER).read_text().splitlines() if '"task-client>' in line)
    clone.edit(WORKER, bounds, f'    "{held}",')
    clone.commit()
    before = clone.state()

    said = clone.refused("cut", "task-client", "minor")

    assert f"task-worker ({held})" in said
    assert "task-api" not in said
    assert clone.state() == before


@pytest.mark.parametrize(
    ("prepare", "words", "reason"),
    [
        (lambda clone: clone.edit(MANIFEST, "[project]", "[project] #"), "task-client minor", "the tree is not clean"),
        (lambda clone: (clone.root / "new.py").touch(), "task-client minor", "the tree is not clean"),
        (lambda clone: clone.run("git", "switch", "-qc", "mine"), "task-client minor", "cut on main, and this is mine"),
        (lambda clone: clone.run("git", "switch", "-q", "--detach"), "task-client minor", "this is no branch"),
        (lambda clone: clone.run("git", "tag", "task-client-v9.0.0"), "task-client 9.0.0", "task-client-v9.0.0 exists"),
        (lambda _: None, "task-cilent minor", "task-cilent is no member; these are: "),
        (lambda _: None, "task-client mayor", "mayor is none of major, minor, patch and no version like 0.2.0"),
        (lambda _: None, "task-client 0.2.0rc1", "no version like 0.2.0"),
        (lambda _: None, "task-client 0.0.1", "0.0.1 is below "),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_changes(
    clone: Clone, prepare: Callable[[Clone], object], words: str, reason: str
) -> None:
    prepare(clone)
    before = clone.state()

    said = clone.refused("cut", *words.split())

    assert reason in said
    assert clone.state() == before


def test_a_release_without_news_is_refused(clone: Clone) -> None:
    clone.release("cut", "task-client", "patch")
    before = clone.state()

    assert f"{CHANGELOG} has nothing unreleased" in clone.refused("cut", "task-client", "patch")
    assert clone.state() == before


def test_a_release_that_the_changelog_has_already_is_refused(clone: Clone) -> None:
    version = clone.versions()["task-client"]
    clone.release("cut", "task-client", version)
    clone.edit(CHANGELOG, "## Unreleased\n", "## Unreleased\n\n- More.\n")
    clone.commit()
    clone.run("git", "tag", "-d", f"task-client-v{version}")
    before = clone.state()

    assert f"{CHANGELOG} has {version} already" in clone.refused("cut", "task-client", version)
    assert clone.state() == before


def test_a_changelog_of_another_form_is_refused(clone: Clone) -> None:
    clone.edit(CHANGELOG, "## Unreleased\n", "## 9.0.0 (soon)\n")
    clone.commit()
    before = clone.state()

    assert "the topmost section of '# Changelog of task-client' is not '## Unreleased'" in clone.refused(
        "cut", "task-client", "patch"
    )
    assert clone.state() == before


def test_a_release_that_cannot_be_locked_changes_nothing(clone: Clone, tmp_path: Path) -> None:
    before = clone.state()

    said = clone.refused("cut", "task-client", "minor", UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "empty"))

    assert "`uv version` failed" in said
    assert clone.state() == before


@pytest.mark.parametrize(("hook", "refuses"), [("pre-commit", "git commit"), ("reference-transaction", "git tag")])
def test_a_release_that_a_hook_refuses_changes_nothing(clone: Clone, hook: str, refuses: str) -> None:
    script = clone.root / ".git" / "hooks" / hook
    script.write_text("#!/bin/sh\n" + ("exit 1" if hook == "pre-commit" else "! grep -q refs/tags/"))
    script.chmod(0o755)
    before = clone.state()

    assert f"`{refuses}` failed" in clone.refused("cut", "task-client", "minor")
    assert clone.state() == before


@pytest.mark.usefixtures("hears_interrupts")
def test_a_release_that_is_interrupted_as_it_is_tagged_changes_nothing(clone: Clone) -> None:
    script = clone.root / ".git" / "hooks" / "reference-transaction"
    interrupt = 'rm "$0"; kill -INT $(ps -o ppid= -p $PPID)'
    script.write_text(f'#!/bin/sh\nif [ "$1" = committed ] && grep -q refs/tags/; then {interrupt}; fi\n')
    script.chmod(0o755)
    before = clone.state()

    command = [sys.executable, "tools/release.py", "cut", "task-client", "minor"]
    done = subprocess.run(command, cwd=clone.root, env=ENV, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert not script.exists()
    assert clone.state() == before


def test_the_first_release_may_have_the_version_that_is_there(clone: Clone) -> None:
    version = clone.versions()["task-client"]

    clone.release("cut", "task-client", version)

    assert clone.run("git", "tag") == f"task-client-v{version}"
    assert clone.changed() == {CHANGELOG}


def test_the_notes_of_a_tag_are_its_section_of_the_changelog(clone: Clone) -> None:
    clone.edit(
        CHANGELOG,
        "- A change.",
        "- A change.\n- Another,\n  that takes two lines.\n\n## 0.0.1 (2026-01-01)\n\n- First.",
    )
    clone.commit()
    clone.release("cut", "task-client", "8.0.0")

    assert clone.release("notes", "task-client-v8.0.0") == "- A change.\n- Another,\n  that takes two lines."


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("task-client-v99.0.0", f"task-client-v99.0.0 does not fit {MANIFEST}, which says "),
        ("task-cilent-v0.1.0", "task-cilent is no member"),
        ("v0.1.0", "v0.1.0 is not of the form task-client-v0.2.0"),
        ("task-client-v0.1", "is not of the form"),
    ],
)
def test_a_tag_that_does_not_fit_has_no_notes(clone: Clone, tag: str, reason: str) -> None:
    assert reason in clone.refused("notes", tag)


def test_a_tag_without_a_section_has_no_notes(clone: Clone) -> None:
    assert "says nothing about" in clone.refused("notes", f"task-client-v{clone.versions()['task-client']}")
