"""The command `task-client` in a shell whose pipes are closed, full or gone: what its exit code says then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from task_client.testing import FakeService

Shell = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def shell(service: Any, tmp_path: Path) -> Shell:
    """Run the command with these words and redirections; a pipe's exit code is that of its first part."""

    def invoke(words: str) -> tuple[int, str, str]:
        ended = subprocess.run(
            ["bash", "-c", f"'{sys.executable}' -m task_client_cli {words}; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": service.url},
        )
        return ended.returncode, ended.stdout, ended.stderr

    return invoke


@pytest.fixture
def done(fake: FakeService) -> str:
    """The id of a task that is COMPLETED."""
    with fake.client() as client:
        task_id = client.create(name="t", type="slow").id
    fake.begin(task_id)
    fake.complete(task_id, {"answer": 42})
    return str(task_id)


@pytest.mark.parametrize(
    "words",
    ["list", "list --json", "list --help", "--help", "--version", "wait ID", "get ID", "context show", "doctor"],
)
@pytest.mark.parametrize("place", ["/dev/full", "&-"])
def test_output_that_cannot_be_written_is_74_and_a_line(shell: Shell, done: str, words: str, place: str) -> None:
    code, _, err = shell(f"{words.replace('ID', done)} >{place}")

    said = "stdout is closed" if place == "&-" else "stdout cannot be written: No space left on device"
    assert (code, err.removeprefix("t is COMPLETED\n")) == (74, f"error: {said}\n")


@pytest.mark.parametrize("words", ["--help", "list --help", "--version", "list", "context list", "context show"])
def test_a_reader_that_has_gone_is_no_error(shell: Shell, done: str, words: str) -> None:
    assert shell("context add dev http://dev.test")[0] == 0

    assert shell(f"{words} | true") == (0, "", "")


@pytest.mark.parametrize("place", ["/dev/full", "&-"])
def test_words_that_cannot_be_written_change_no_exit_code(shell: Shell, done: str, place: str) -> None:
    waited, wrong = shell(f"wait {done} 2>{place}"), shell(f"list --nothing 2>{place}")

    assert (waited, wrong) == ((0, '{"answer": 42}\n', ""), (2, "", ""))


def test_a_file_is_created_up_to_what_could_be_written_and_says_so(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"name": "n", "type": "slow"}\n' * 3)

    code, _, err = shell(f"create-many {path} >/dev/full")

    assert code == 74
    assert "3 of 3 tasks were created; the same command goes on" in err
