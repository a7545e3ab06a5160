"""The command `task-client`, run in this process against a fake service behind a real HTTP server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from task_client.testing import FakeService
from task_client.testing._insight import Insight
from task_client_cli import _contexts as contexts
from task_client_cli._app import app
from task_client_cli._columns import ERRORS
from task_client_cli._tables import Column, lay_out
from task_contracts import TaskStatus

Run = Callable[..., Any]
NEIGHBOURS = [UUID("01a22bed-c10a-7247-97bf-27b9a7fb13fb"), UUID("01a22bed-c10a-7247-97bf-27ba3a154bf1")]
"""Ids as the service makes them within a millisecond."""
DANGER = "bad\x1b[2J\tname\n\x9b31m"


@pytest.fixture
def fake() -> FakeService:
    service = FakeService({"echo": lambda payload: payload}, queues=frozenset({"default", "reports"}))

    @service.on("mail.send")
    def send(payload: dict[str, Any]) -> None:
        raise ConnectionError("no mail \x1b[31mserver")

    return service


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TASK_SERVER", raising=False)


@pytest.fixture
def run(service: Any) -> Run:
    """Run the command with these words against the service."""

    def invoke(*words: object, text: str | bytes | None = None) -> Any:
        return CliRunner().invoke(app, [*map(str, words)], input=text, env={"TASK_SERVER": service.url})

    return invoke


def test_create_prints_the_id_alone_on_stdout(run: Run, fake: FakeService) -> None:
    ended = run("create", "hi", "--type", "slow", "--payload", '{"a": 1}', "--label", "k=v", "--priority", "high")

    (task,) = fake.tasks
    assert (ended.exit_code, ended.stdout) == (0, f"{task.id}\n")
    assert (task.payload, task.labels, task.priority) == ({"a": 1}, {"k": "v"}, "HIGH")
    assert ended.stderr == "hi is NEW\n"


def test_create_with_a_key_creates_once(run: Run, fake: FakeService) -> None:
    ids = {run("create", "hi", "--key", "k-1").stdout for _ in range(2)}

    assert len(ids) == len(fake.tasks) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--payload", "[1]"], "no JSON object"),
        (["--payload", "{"], "no JSON"),
        (["--payload", "@/nowhere"], "cannot be read"),
        (["--priority", "urgent"], "there are LOW, MEDIUM, HIGH"),
        (["--label", "x"], "KEY=VALUE"),
        (["--run-at", "soon"], "is no time"),
        (["--run-timeout", "x"], "is no span"),
    ],
)
def test_what_is_typed_wrong_is_usage_and_creates_nothing(
    run: Run, fake: FakeService, words: list[str], said: str
) -> None:
    ended = run("create", "hi", *words)

    assert (ended.exit_code, ended.stdout, fake.tasks) == (2, "", [])
    assert said in ended.stderr


def test_each_field_that_is_refused_has_a_line(run: Run) -> None:
    ended = run("create", "hi", "--queue", "a b", "--label", "k\n  body.name: forged=v", "--max-attempts", "99")

    first, *fields = ended.stderr.splitlines()
    assert (ended.exit_code, first.partition(":")[0]) == (3, "error")
    assert [line.split()[0] for line in fields] == ["body.queue:", "body.labels.k\\n", "body.max_attempts:"]


def test_what_the_service_refuses_is_3(run: Run) -> None:
    ended = run("create", "hi", "--queue", "nowhere")

    assert ended.exit_code == 3
    assert "unknown_queue" in ended.stderr


def test_nobody_there_is_4_and_names_the_address(run: Run) -> None:
    ended = run("explain", "019a0000-0000-7000-8000-000000000001", "--server", "http://127.0.0.1:1")

    assert (ended.exit_code, ended.stdout) == (4, "")
    assert "http://127.0.0.1:1" in ended.stderr
    assert "refused" in ended.stderr


@pytest.mark.parametrize(("type_", "code", "said"), [("echo", 0, "COMPLETED"), ("mail.send", 1, "no mail \\u001b[31m")])
def test_wait_says_by_its_exit_code_how_a_task_ended(run: Run, type_: str, code: int, said: str) -> None:
    task_id = run("create", "hi", "--type", type_, "--payload", '{"a": 1}').stdout.strip()

    ended = run("wait", task_id)

    assert (ended.exit_code, ended.stdout) == (code, '{"a": 1}\n' if code == 0 else "")
    assert said in ended.stderr


def test_a_wait_that_takes_too_long_is_5(run: Run) -> None:
    task_id = run("create", "hi", "--type", "slow").stdout.strip()

    ended = run("wait", task_id, "--timeout", "0.2")

    assert ended.exit_code == 5
    assert "has not ended after 0.2 s" in ended.stderr


def test_an_id_may_be_shortened_as_long_as_it_is_unique(run: Run, fake: FakeService) -> None:
    task_id = run("create", "hi", "--type", "slow").stdout.strip()

    whole, short = run("get", task_id, "--json"), run("get", task_id[:12].replace("-", "").upper(), "--json")

    assert json.loads(whole.stdout)["id"] == json.loads(short.stdout)["id"] == task_id
    assert len(fake.requests) == 4  # a create, two gets, and one look for the short id


def test_short_ids_of_none_and_of_several_are_told_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = iter(NEIGHBOURS)
    monkeypatch.setattr("task_client.testing._tasks.uuid4", lambda: next(neighbours))
    run("create", "a")
    run("create", "b")

    none, several, seven = run("get", "b" * 20), run("get", "01a22bed"), run("get", "abcdef0")

    assert (none.exit_code, several.exit_code, seven.exit_code) == (3, 2, 2)
    assert "no task has an id" in none.stderr
    assert "several tasks" in several.stderr
    assert "first 8 characters" in seven.stderr


def test_what_a_table_shows_of_ids_tells_tasks_of_the_same_moment_apart() -> None:
    rows = [SimpleNamespace(id=one, name="n" * 100) for one in NEIGHBOURS]
    columns = (Column("ID", lambda row: str(row.id), is_id=True), Column("NAME", lambda row: row.name))

    _, *lines = lay_out(rows, columns, 60)

    shown = [line.plain.split()[0] for line in lines]
    assert len({*shown}) == 2
    assert all(str(one).startswith(text) for one, text in zip(NEIGHBOURS, shown, strict=True))


@pytest.mark.parametrize(("width", "is_whole"), [(100, True), (60, False)])
def test_of_a_failure_the_message_is_the_last_to_be_cut(width: int, is_whole: bool) -> None:
    group = SimpleNamespace(
        count=36,
        fingerprint="4f0c2b9a1d3e5f60",
        last_at=None,
        type="mail.send",
        first_at=None,
        example_id=NEIGHBOURS[0],
        frame="mail.send in render",
        exception="OSError",
        message="no mail host answers at the address",
    )

    heading, row = lay_out([group], ERRORS, width)

    assert heading.plain.split()[:2] == ["ATTEMPTS", "FINGERPRINT"]
    assert row.plain.endswith("no mail host answers at the address") is is_whole
    assert str(NEIGHBOURS[0])[:8] not in row.plain


def test_a_list_in_a_pipe_is_whole_lines_of_values(run: Run) -> None:
    run("create", DANGER, "--type", "mail.send")

    ended = run("list", "--status", "failed,new", "--type", "mail.send")

    (line,) = ended.stdout.splitlines()
    values = line.split("\t")
    assert values[1:3] == ["FAILED", "-"]
    assert values[8:] == ["bad\\u001b[2J\\tname\\n\\u009b31m", "ConnectionError: no mail \\u001b[31mserver"]


@pytest.mark.parametrize(("option", "parse"), [("--json", json.loads), ("--jsonl", lambda text: [json.loads(text)])])
def test_json_is_what_the_service_said_and_escaped(run: Run, option: str, parse: Callable[[str], Any]) -> None:
    run("create", DANGER, "--type", "slow")

    ended = run("list", option)

    assert [task["name"] for task in parse(ended.stdout)] == [DANGER]
    assert not set(ended.stdout) & {"\x1b", "\x9b"}


def test_an_empty_list_is_no_data_and_a_word_on_stderr(run: Run) -> None:
    text, array, lines = run("list"), run("list", "--json"), run("list", "--jsonl")

    assert (text.stdout, array.stdout, lines.stdout) == ("", "[]\n", "")
    assert "no task" in text.stderr


def test_a_worker_may_be_named_by_its_host_and_process(run: Run, fake: FakeService) -> None:
    task_ids = [run("create", "t", "--type", "slow").stdout.strip() for _ in range(2)]
    fake.begin(UUID(task_ids[0]))
    worker_id, host, pid = (json.loads(run("workers", "--json").stdout)[0][name] for name in ("id", "host", "pid"))

    listed = [run("list", "--worker", name).stdout for name in (worker_id, worker_id[:9], f"{host}:{pid}")]
    other = run("list", "--worker", f"{host}:{pid + 1}")

    assert {text.partition("\t")[0] for text in listed} == {task_ids[0]}
    assert (other.exit_code, other.stdout) == (3, "")
    assert "no live worker is" in other.stderr


@pytest.mark.parametrize(("seconds", "state"), [(None, "leader"), (12.4, "leader,silent 12s")])
def test_workers_say_which_one_is_silent(
    seconds: float | None, state: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Insight.workers
    monkeypatch.setattr(
        Insight,
        "workers",
        lambda self: [one.model_copy(update={"silent_seconds": seconds}) for one in answered(self)],
    )

    assert f"\t{state}\t" in run("workers").stdout


def test_list_stops_at_its_limit_and_all_goes_through_every_page(run: Run, fake: FakeService) -> None:
    with fake.client() as client:
        client.create_many([{"name": f"n{n}", "type": "slow"} for n in range(450)])

    assert len(run("list").stdout.splitlines()) == 50
    assert len(run("list", "--limit", 230).stdout.splitlines()) == 230
    assert len(run("list", "--all", "--oldest").stdout.splitlines()) == 450


def test_a_wrong_filter_names_what_there_is(run: Run) -> None:
    ended = run("list", "--status", "done")

    assert ended.exit_code == 2
    assert "COMPLETED" in ended.stderr


@pytest.mark.parametrize(
    "words",
    ["list --created-from 999999d", "list --limit 99999999999999999999999", "watch --every 1e300"],
)
def test_what_is_beyond_all_bounds_is_usage(run: Run, fake: FakeService, words: str) -> None:
    ended = run(*words.split())

    assert (ended.exit_code, ended.stdout, fake.tasks) == (2, "", [])
    assert "islice" not in ended.stderr


def test_a_fault_of_the_command_is_70_with_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("task_client.TaskClient.queues", fail)

    ended = run("queues")

    assert (ended.exit_code, ended.stdout) == (70, "")
    assert "Traceback" in ended.stderr
    assert "ZeroDivisionError: a fault" in ended.stderr


@pytest.mark.parametrize("type_", ["slow", "echo", "mail.send"])
def test_what_others_wrote_makes_no_line_of_its_own_on_stderr(run: Run, fake: FakeService, type_: str) -> None:
    name = "a\nerror: forged"

    made = run("create", name, "--type", type_)
    ended = [made, run("wait", made.stdout.strip(), "--timeout", "0.2"), run("rerun", made.stdout.strip())]
    ended += [run("cancel", name), run("list", "--worker", name), run("cancel", "--name", name)]

    lines = [line for one in ended for line in one.stderr.splitlines()]
    assert [line for line in lines if line.startswith("error: forged")] == []
    assert len(lines) == len(ended)
    assert "a\\nerror: forged is " in lines[0]


def test_a_file_is_created_once_and_each_other_file_too(run: Run, fake: FakeService, tmp_path: Path) -> None:
    first, second, copy = (tmp_path / name for name in ("first.jsonl", "second.jsonl", "copy.jsonl"))
    first.write_text('{"name": "a"}\n{"name": "b"}\n')
    second.write_text('{"name": "c"}\n{"name": "b"}\n')
    copy.write_bytes(first.read_bytes())

    ids = [
        {*run("create-many", *words).stdout.split()}
        for words in ([first], [second], [first, "--queue", "reports"], [first], [copy], [first, "--key", "anew"])
    ]

    created = [ids[0], ids[1], ids[2], ids[5]]
    assert [len(one) for one in created] == [2, 2, 2, 2]
    assert len(set().union(*created)) == len(fake.tasks) == 8
    assert ids[0] == ids[3] == ids[4]
    assert [task.queue for task in fake.tasks if str(task.id) in ids[2]] == ["reports", "reports"]


@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.csv"])
def test_the_names_of_a_file_make_no_lines_and_no_pages_on_stderr(run: Run, tmp_path: Path, name: str) -> None:
    path, fields = tmp_path / name, ["a\nline 7: fake", "k" * 200_000]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"name": "n", field: "x"}) + "\n" for field in fields))
    else:
        path.write_text("".join(f'name,"{field}"\n' for field in fields) + "n,x\n")

    ended = run("create-many", path)

    assert ended.exit_code == 2
    assert "line 7" not in [line[:6] for line in ended.stderr.splitlines()]
    assert "a\\nline 7: fake: Extra inputs" in ended.stderr
    assert max(map(len, ended.stderr.splitlines())) < 400


@pytest.mark.parametrize(
    ("heading", "twice"),
    [
        ("name,type,type", "type"),
        ("name,label.a,labels.a", "label.a"),
        ("name,payload.n,payload.n:json", "payload.n"),
        ("name, name,type,type ", "name, type"),
    ],
)
def test_a_heading_that_has_a_field_twice_is_refused_by_name(
    run: Run, fake: FakeService, heading: str, twice: str
) -> None:
    rows = f"{heading}\n{','.join('1' for _ in heading.split(','))}\n"

    ended = run("create-many", "-", "--format", "csv", text=rows)

    assert (ended.exit_code, fake.tasks) == (2, [])
    assert f"line 1: the heading has {twice} twice\n" in ended.stderr


def test_empty_cells_of_a_heading_name_nothing(run: Run, fake: FakeService) -> None:
    assert run("create-many", "-", "--format", "csv", text="name,,\nn,,\n").exit_code == 0

    assert [task.name for task in fake.tasks] == ["n"]


def test_attempts_show_errors_without_driving_the_terminal(run: Run) -> None:
    task_id = run("create", "mail", "--type", "mail.send").stdout.strip()

    ended = run("attempts", task_id)

    assert "attempt 1: FAIL" in ended.stdout
    assert "ConnectionError: no mail \\u001b[31mserver" in ended.stdout
    assert len(json.loads(run("attempts", task_id, "--json").stdout)) == 1


def test_explain_is_a_sentence_first(run: Run) -> None:
    task_id = run("create", "hi", "--type", "slow").stdout.strip()

    ended = run("explain", task_id)

    assert ended.stdout.splitlines()[0] == "Waits: no live worker offers the type slow in the queue default."
    assert "reason\tno_worker_offers_type" in ended.stdout


@pytest.mark.parametrize("look", ["stats", "queues", "errors", "workers", "types"])
def test_each_look_has_text_and_json(run: Run, look: str) -> None:
    run("create", "mail", "--type", "mail.send")

    text, as_json = run(look), run(look, "--json")

    assert (text.exit_code, as_json.exit_code) == (0, 0)
    assert text.stdout.strip()
    assert json.loads(as_json.stdout)


def test_demand_says_how_many_workers_a_queue_wants(run: Run) -> None:
    for _ in range(2):
        run("create", "t", "--type", "slow", "--queue", "reports")

    text, as_json = run("demand", "reports", "--target-wait", "5m"), run("demand", "reports", "--json")
    nowhere, never = run("demand", "nowhere"), run("demand", "reports", "--target-wait", "soon")

    assert "desired_workers\t2\n" in text.stdout
    assert json.loads(as_json.stdout)["demand"] == 2
    assert (nowhere.exit_code, never.exit_code) == (3, 2)


def test_cancel_and_rerun_by_id(run: Run) -> None:
    task_id = run("create", "hi", "--type", "slow").stdout.strip()

    cancelled, twice = run("cancel", task_id), run("rerun", task_id)

    assert (cancelled.stdout, twice.stdout) == (f"{task_id}\n", f"{task_id}\n")
    assert (cancelled.stderr, twice.stderr) == ("hi is CANCELLED\n", "hi is PENDING\n")


def test_of_several_ids_one_that_is_refused_does_not_keep_the_others(run: Run, fake: FakeService) -> None:
    done, waiting = (run("create", "t", "--type", type_).stdout.strip() for type_ in ("echo", "slow"))

    ended = run("cancel", done, waiting)

    assert (ended.exit_code, ended.stdout) == (3, f"{waiting}\n")
    assert fake.tasks[1].status is TaskStatus.CANCELLED


def test_a_change_in_bulk_is_never_made_unasked(run: Run, fake: FakeService) -> None:
    run("create", "t", "--type", "slow")

    ended = run("cancel", "--type", "slow")

    assert (ended.exit_code, ended.stdout, fake.tasks[0].status) == (2, "", TaskStatus.NEW)
    assert "cancel 1 task (type=slow) on http://127.0.0.1" in ended.stderr
    assert "--yes" in ended.stderr


def test_a_dry_run_counts_and_yes_does_it(run: Run, fake: FakeService) -> None:
    for _ in range(3):
        run("create", "t", "--type", "mail.send")

    counted, done = run("rerun", "--status", "FAILED", "--dry-run"), run("rerun", "--status", "FAILED", "--yes")

    assert (counted.stdout, done.stdout) == ("3\n", "3\n")
    assert [task.rerun_count for task in fake.tasks] == [1, 1, 1]


@pytest.mark.parametrize("words", [[], ["--all", "--type", "x"], ["019a0000", "--type", "x"], ["019a0000", "--all"]])
def test_which_tasks_must_be_said_in_one_way(run: Run, words: list[str]) -> None:
    assert run("cancel", *words, "--yes").exit_code == 2


def test_edit_changes_what_waits(run: Run, fake: FakeService) -> None:
    task_id = run("create", "t", "--type", "slow").stdout.strip()

    edited, stale = run("edit", task_id, "--priority", "low"), run("edit", task_id, "--run-at", "1h", "--if-version", 1)

    assert (edited.exit_code, stale.exit_code, run("edit", task_id).exit_code) == (0, 3, 2)
    assert fake.tasks[0].priority == "LOW"


def test_doctor_says_what_is_reached(run: Run) -> None:
    well, away = run("doctor"), run("doctor", "--server", "http://127.0.0.1:1")

    assert (well.exit_code, away.exit_code) == (0, 4)
    assert [line.split()[0] for line in well.stdout.splitlines()] == [
        "server", "client", "reached", "key", "service", "clock", "status",
    ]  # fmt: skip
    assert "agrees" in well.stdout


def test_a_clock_that_is_off_is_a_warning() -> None:
    from task_client_cli._doctor import _Clock

    clock = _Clock()
    clock.note("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0 + 60)

    assert clock.verdict() == "WARNING: the service's is 59s behind this machine's"
    clock.note("no date", 0.0)
    assert "behind" in clock.verdict()


def test_contexts_are_kept_in_a_file_of_the_users_own(run: Run) -> None:
    run("context", "add", "dev", "http://dev.test:9000")
    run("context", "add", "prod", "https://prod.test")
    run("context", "use", "prod")

    listed, as_json = run("context", "list"), run("context", "list", "--json")

    assert listed.stdout == "dev\tno\thttp://dev.test:9000\t-\nprod\tyes\thttps://prod.test\t-\n"
    assert [(one["name"], one["is_used"]) for one in json.loads(as_json.stdout)] == [("dev", False), ("prod", True)]
    assert stat.S_IMODE(contexts.path().stat().st_mode) == 0o600
    assert [path.name for path in contexts.path().parent.iterdir()] == ["contexts.json"]


def test_the_server_is_the_options_then_the_environments_then_the_contexts(service: Any) -> None:
    runner = CliRunner()
    runner.invoke(app, ["context", "add", "dev", "http://dev.test"])

    assert "http://dev.test (context dev)" in runner.invoke(app, ["context", "show"]).stdout
    by_environment = runner.invoke(app, ["context", "show"], env={"TASK_SERVER": "http://env.test"})
    assert "http://env.test (TASK_SERVER)" in by_environment.stdout
    by_option = runner.invoke(app, ["list", "--server", service.url], env={"TASK_SERVER": "http://env.test"})
    assert by_option.exit_code == 0
    in_front = runner.invoke(app, ["--server", service.url, "list"])
    assert in_front.exit_code == 0


@pytest.mark.parametrize(
    "words", [["context", "use", "x"], ["context", "add", "a b", "http://x"], ["context", "add", "a", "x:1"],
              ["list", "--context", "x"], ["list", "--server", "x:1"]]
)  # fmt: skip
def test_what_is_no_context_and_no_server_is_usage(run: Run, words: list[str]) -> None:
    ended = run(*words)

    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: ")


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_what_is_found_is_data_too(run: Run, service: Any, option: str) -> None:
    doctor, shown = run("doctor", option), run("context", "show", option)
    away = run("doctor", option, "--server", "http://127.0.0.1:1")

    found = json.loads(doctor.stdout)
    assert [*found] == ["server", "client", "reached", "key", "service", "clock", "check", "status"]
    assert (found["status"], found["service"]["version"], doctor.exit_code) == ("ok", found["client"], 0)
    assert abs(found["clock"]) < 5
    assert json.loads(shown.stdout) == {"server": service.url, "origin": "TASK_SERVER", "key": None}
    assert (away.exit_code, away.stdout) == (4, "")


def test_a_file_of_contexts_cannot_drive_the_terminal(run: Run) -> None:
    contexts.path().parent.mkdir(parents=True)
    contexts.path().write_text(json.dumps({"servers": {"a": f"http://{DANGER}"}, "used": "a"}))

    for option in ([], ["--json"], ["--jsonl"]):
        assert not set(run("context", "list", *option).stdout) & {"\x1b", "\x9b"}


def test_a_broken_file_of_contexts_is_named(run: Run) -> None:
    contexts.path().parent.mkdir(parents=True)
    contexts.path().write_text("[]")

    ended = run("context", "list")

    assert ended.exit_code == 2
    assert "contexts.json cannot be read" in ended.stderr


def test_watch_without_a_terminal_prints_each_change_up_to_the_end(run: Run, fake: FakeService) -> None:
    task_id = run("create", "t", "--type", "slow").stdout.strip()
    run("cancel", task_id)

    ended = run("watch", task_id)

    assert (ended.exit_code, ended.stdout.split("\t")[:2]) == (0, [task_id, "CANCELLED"])
    assert run("watch", "--name", "x").exit_code == 2


def test_watch_of_what_is_not_there_is_refused(run: Run) -> None:
    ended = run("watch", "019a0000-0000-7000-8000-000000000001")

    assert ended.exit_code == 3
    assert "019a0000-0000-7000-8000-000000000001" in ended.stderr


@pytest.mark.parametrize(
    "words",
    ["--help", "-h", "--version", "list --help", "list -h", "create-many --help", "context -h", "context add --help",
     "context add -h", "--server http://x list --help", "--server=http://x --context c list -h"],
)  # fmt: skip
def test_help_imports_neither_pydantic_nor_httpx2(words: str) -> None:
    code = (
        "import sys\nfrom task_client_cli.__main__ import main\n"
        f"sys.argv = ['task-client', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print({'pydantic', 'httpx2', 'task_client', 'rich'} & set(sys.modules), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr == "set()\n"
    assert "task-client" in ended.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--server SERVER list", 0, ""),
        ("--server=SERVER list --server http://127.0.0.1:1", 4, "http://127.0.0.1:1"),
        ("--context none --server SERVER queues", 0, ""),
        ("--context none queues", 2, "there is no context 'none'"),
        ("--server", 2, "requires an argument"),
        ("--server SERVER", 2, "Missing command"),
        ("--server SERVER nothing", 2, "No such command 'nothing'"),
        ("context nothing", 2, "No such command 'nothing'"),
        ("lst", 2, "Did you mean 'list'"),
    ],
)
def test_options_in_front_are_those_of_the_command(
    service: Any, tmp_path: Path, words: str, code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "task_client_cli", *words.replace("SERVER", service.url).split()],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "TASK_SERVER": "http://127.0.0.1:2"},
    )

    assert ended.returncode == code
    assert said in ended.stderr


def test_without_the_extra_the_command_says_so() -> None:
    code = "import sys\nfrom task_client_cli import __main__\n__main__.find_spec = lambda name: None\n__main__.main()"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "task-client[cli]" in ended.stderr
