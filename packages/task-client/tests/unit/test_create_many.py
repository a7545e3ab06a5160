"""`task-client create-many`: files are checked whole first, and a repeat creates nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from task_client.testing import FakeService
from task_client_cli._app import app

Run = Callable[..., Any]


@pytest.fixture
def run(service: Any, tmp_path: Path) -> Run:
    """Run `create-many` over a file with this content."""

    def invoke(content: str | bytes, *words: object, name: str = "tasks.jsonl") -> Any:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        every = ["create-many", str(tmp_path / name), "--server", service.url, *map(str, words)]
        return CliRunner().invoke(app, every, env={"XDG_CONFIG_HOME": str(tmp_path)})

    return invoke


def lines(count: int, **fields: Any) -> str:
    return "".join(json.dumps({"name": f"n{n}", "type": "slow", **fields}) + "\n" for n in range(count))


def test_each_line_is_a_task_in_order_and_its_id_a_line(run: Run, fake: FakeService) -> None:
    ended = run("\n" + lines(3, labels={"k": "v"}) + "\n \n")

    assert (ended.exit_code, ended.stdout.split()) == (0, [str(task.id) for task in fake.tasks])
    assert [(task.name, task.labels) for task in fake.tasks] == [(f"n{n}", {"k": "v"}) for n in range(3)]
    assert "3 tasks of" in ended.stderr


def test_options_are_for_tasks_that_do_not_say_it_themselves(run: Run, fake: FakeService) -> None:
    run('{"name": "a", "type": "own"}\n{"name": "b"}\n', "--type", "slow", "--priority", "low", "--label", "a=b")

    assert [(task.type, task.priority, task.labels) for task in fake.tasks] == [
        ("own", "LOW", {"a": "b"}),
        ("slow", "LOW", {"a": "b"}),
    ]


def test_a_repeat_of_the_same_file_creates_nothing_twice(run: Run, fake: FakeService) -> None:
    first, again = run(lines(2_500)), run(lines(2_500))

    assert len(fake.tasks) == 2_500
    assert first.stdout == again.stdout


def test_another_file_other_options_and_another_key_create_more(run: Run, fake: FakeService) -> None:
    run(lines(1))
    run(lines(2))
    run(lines(1), "--priority", "high")
    run(lines(1), "--key", "once-more")

    assert len(fake.tasks) == 1 + 2 + 1 + 1


def test_after_an_error_in_the_middle_the_same_command_goes_on(run: Run, fake: FakeService, service: Any) -> None:
    service.trouble = ["", "internal"]

    broken = run(lines(2_500))
    left = len(fake.tasks)
    again = run(lines(2_500))

    assert (broken.exit_code, left, again.exit_code, len(fake.tasks)) == (3, 1_000, 0, 2_500)
    assert "1000 of 2500 tasks were created; the same command goes on" in broken.stderr


def test_a_connection_that_is_cut_creates_nothing_twice(run: Run, fake: FakeService, service: Any) -> None:
    service.trouble = ["", "hang up after", "hang up"]

    ended = run(lines(2_100))

    assert (ended.exit_code, len(fake.tasks)) == (0, 2_100)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ("[" * 100_000, "is no JSON"),
        ('{"nam": "x"}', "nam: Extra inputs"),
        ('{"name": " "}', "must not be blank"),
        ('{"name": "x", "payload": {"n": NaN}}', "payload"),
        ('{"name": "x", "labels": {"\\u001b[2J": 1}}', "labels.\\u001b[2J"),
        (b'{"name": "\xff"}', "is not UTF-8"),
        ('{"name": "x", "payload": {"a": "' + "x" * (1 << 20) + '"}}', "larger than 1048576 bytes"),
        ('{"name": "' + "x" * (2 << 20) + '"}', "longer than 2097152 bytes"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_nothing_is_created(
    run: Run, fake: FakeService, line: str | bytes, said: str
) -> None:
    raw = line if isinstance(line, bytes) else line.encode()

    ended = run(lines(1_200).encode() + b"\n" + raw + b"\n" + lines(5).encode())

    assert (ended.exit_code, ended.stdout, fake.requests) == (2, "", [])
    assert "nothing was created, 1 line is wrong:\nline 1202: " in ended.stderr
    assert said in ended.stderr


def test_of_many_wrong_lines_the_first_are_named(run: Run) -> None:
    ended = run("{\n" * 500)

    assert "500 lines are wrong" in ended.stderr
    assert ended.stderr.count("is no JSON") == 20
    assert "and 480 more" in ended.stderr


def test_csv_names_its_fields_in_a_heading(run: Run, fake: FakeService) -> None:
    content = (
        "\ufeffname,type,label.customer,payload.zip,payload.n:json,max_attempts,priority,run_at\r\n"
        'a,slow,42,007,"[1, 2]",3,HIGH,\r\n'
        '"b, ""c""\n2",slow,,,,,,2026-12-01T00:00:00Z\r\n'
    )

    ended = run(content, name="tasks.csv")

    assert ended.exit_code == 0
    first, second = fake.tasks
    assert (first.labels, first.payload, first.max_attempts) == ({"customer": "42"}, {"zip": "007", "n": [1, 2]}, 3)
    assert first.priority == "HIGH"
    assert (second.name, second.labels, second.payload, second.priority) == ('b, "c"\n2', {}, {}, "MEDIUM")
    assert second.run_at is not None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,1\n", "line 4: has 2 cells, the heading 3"),
        ("a,{,\n", "line 4: payload is no JSON"),
        ("a,[],\n", "line 4: payload is no JSON object"),
        ('a,"x"y,\n', "line 4: is no CSV"),
        ("a,,x\n", "line 4: max_attempts is no JSON"),
    ],
)
def test_a_wrong_row_is_named_by_the_line_it_begins_on(run: Run, fake: FakeService, rows: str, said: str) -> None:
    ended = run('name,payload,max_attempts\n"two\nlines",,\n' + rows, name="tasks.csv")

    assert (ended.exit_code, fake.requests) == (2, [])
    assert said in ended.stderr


def test_a_dry_run_asks_no_service(run: Run, fake: FakeService) -> None:
    ended = run(lines(7), "--dry-run")

    assert (ended.exit_code, ended.stdout, fake.requests) == (0, "7\n", [])


def test_stdin_is_read_whole_before_anything_is_created(service: Any, fake: FakeService) -> None:
    runner = CliRunner()
    words = ["create-many", "-", "--server", service.url]

    good, bad = runner.invoke(app, words, input=lines(3)), runner.invoke(app, words, input=lines(3) + "{")

    assert (good.exit_code, bad.exit_code, len(fake.tasks)) == (0, 2, 3)


def test_a_file_that_is_not_there_is_usage() -> None:
    ended = CliRunner().invoke(app, ["create-many", "/nowhere/tasks.jsonl"])

    assert ended.exit_code == 2
    assert "No such file" in ended.stderr


def test_an_empty_file_is_no_tasks(run: Run, fake: FakeService) -> None:
    ended = run("")

    assert (ended.exit_code, fake.tasks) == (0, [])


def test_json_is_one_array_of_what_was_created(run: Run, fake: FakeService) -> None:
    array, rows = run(lines(3), "--json"), run(lines(3), "--jsonl")

    ids = [str(task.id) for task in fake.tasks]
    assert [task["id"] for task in json.loads(array.stdout)] == ids
    assert [json.loads(line)["id"] for line in rows.stdout.splitlines()] == ids
