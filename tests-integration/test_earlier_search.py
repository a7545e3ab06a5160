"""Which version counts as the one before today's migrations: tried in small repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.earlier import ROOT, VERSIONS, NoEarlierVersionError, find_earlier, revisions_today

ENV = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
ENV |= {f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENV |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}  # the user's may sign commits


class Repository:
    """A repository whose trees hold migrations and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turn = 0
        self.git("init", "-q", "-b", "main", str(root))

    def git(self, *words: str) -> str:
        """Run a command of git that must succeed; return what it prints. Each has a second of its own."""
        self._turn += 1
        date = f"2026-11-01T00:00:{self._turn:02}Z"
        env = {**ENV, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, revision: str) -> None:
        """Write the migration to a revision; a new letter replaces the file of the old one."""
        versions = self.root / VERSIONS
        versions.mkdir(parents=True, exist_ok=True)
        (versions / f"{revision[:4]}_of_a_test.py").write_text(f'"""A migration."""\n\nrevision = "{revision}"\n')

    def commit(self, *revisions: str) -> str:
        """Commit the migrations to these revisions, or something else; return the commit."""
        for revision in revisions:
            self.write(revision)
        (self.root / "code.py").write_text(f"# {self._turn}\n")
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "a change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root = tmp_path / "repository"
    root.mkdir()
    return Repository(root)


def test_without_a_tag_it_is_the_commit_before_the_newest_migration(repository: Repository) -> None:
    repository.commit("0001")
    repository.commit("0002")
    before = repository.commit()
    repository.commit("0003")
    repository.commit()

    found = find_earlier(repository.root)

    assert (found.commit, found.revisions) == (before, ("0001", "0002"))


def test_two_migrations_of_one_commit_are_both_new(repository: Repository) -> None:
    before = repository.commit("0001")
    repository.commit("0002", "0003")

    found = find_earlier(repository.root)

    assert (found.commit, found.revisions) == (before, ("0001",))


def test_a_migration_that_is_not_committed_yet_is_new(repository: Repository) -> None:
    head = repository.commit("0001")
    repository.write("0002")

    assert find_earlier(repository.root).commit == head


def test_a_changed_migration_is_none_of_the_newest(repository: Repository) -> None:
    repository.commit("0001")
    before = repository.commit()
    repository.commit("0002")
    (repository.root / VERSIONS / "0001_of_a_test.py").write_text('"""Better words."""\n\nrevision = "0001"\n')
    repository.commit()

    assert find_earlier(repository.root).commit == before


def test_a_tag_comes_before_every_commit_and_the_newest_of_them_first(repository: Repository) -> None:
    repository.commit("0001")
    repository.git("tag", "task-api-v0.1.0")
    tagged = repository.commit("0002")
    repository.git("tag", "-a", "-m", "a release", "task-api-v0.2.0")
    repository.commit()
    repository.commit("0003")

    found = find_earlier(repository.root)

    assert (found.commit, found.name) == (tagged, "task-api-v0.2.0")


def test_a_tag_that_has_all_of_todays_migrations_is_no_earlier_one(repository: Repository) -> None:
    repository.commit("0001")
    repository.git("tag", "task-api-v0.1.0")
    repository.commit("0002")
    repository.git("tag", "task-api-v0.2.0")

    assert find_earlier(repository.root).name == "task-api-v0.1.0"


def test_a_tag_with_another_first_migration_is_none(repository: Repository) -> None:
    repository.commit("0001")
    repository.git("tag", "task-api-v0.1.0")
    before = repository.commit("0001b")
    repository.commit("0002")

    assert find_earlier(repository.root).commit == before


def test_what_a_branch_was_before_its_merge_counts_for_nothing(repository: Repository) -> None:
    repository.commit("0001")
    repository.git("switch", "-q", "-c", "side")
    repository.commit()
    repository.commit("0003")
    repository.git("switch", "-q", "main")
    before = repository.commit("0002")
    repository.git("merge", "-q", "--no-ff", "-X", "ours", "-m", "merge", "side")

    found = find_earlier(repository.root)

    assert (found.commit, found.revisions) == (before, ("0001", "0002"))


def test_a_single_migration_has_no_earlier_version(repository: Repository) -> None:
    repository.commit("0001")
    repository.commit("0001b")

    with pytest.raises(NoEarlierVersionError, match="0001b is the only migration"):
        find_earlier(repository.root)


def test_where_no_commit_has_todays_first_migration_alone_it_says_so(repository: Repository) -> None:
    repository.commit("0001")
    repository.commit("0001b", "0002")

    with pytest.raises(NoEarlierVersionError, match=r"first of today's migrations \(0001b, 0002\)"):
        find_earlier(repository.root)


def test_a_shallow_clone_is_refused_though_it_may_have_the_commit(repository: Repository, tmp_path: Path) -> None:
    repository.commit("0001")
    repository.commit("0002")
    clone = tmp_path / "clone"
    repository.git("clone", "-q", "--depth", "2", repository.root.as_uri(), str(clone))

    with pytest.raises(NoEarlierVersionError, match=r"shallow.*fetch-depth: 0"):
        find_earlier(clone)


def test_todays_revisions_are_those_of_the_files(repository: Repository) -> None:
    repository.write("0002")
    repository.write("0001f")

    assert revisions_today(repository.root) == ("0001f", "0002")


@pytest.mark.skipif(not (ROOT / ".github").exists(), reason="an image lacks what is for the host alone")
def test_every_job_that_runs_the_system_tests_has_the_whole_history() -> None:
    depth_by_job = {}
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            steps = job.get("steps", [])
            if any(runs_system_tests(line) for step in steps for line in step.get("run", "").splitlines()):
                (checkout,) = (step for step in steps if step.get("uses", "").startswith("actions/checkout@"))
                depth_by_job[f"{file.stem}/{name}"] = checkout.get("with", {}).get("fetch-depth")

    assert depth_by_job == {"ci/everything": 0, "nightly/newest": 0}


def runs_system_tests(line: str) -> bool:
    """Return whether a line of a script runs all sessions of nox, or names that of the system's tests."""
    _, nox, sessions = line.partition(" nox")
    return bool(nox) and (" -s" not in sessions or "system" in sessions)
