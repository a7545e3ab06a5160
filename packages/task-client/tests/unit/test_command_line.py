"""The command `task-client`, run in this process against a fake service behind a real HTTP server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from task_client.testing import FakeService
from task_client_cli import _contexts as contexts
from task_client_cli._app import app
from task_contracts import TaskStatus

Run = Callable[..., Any]
DANGER = "bad\x1b[2J\tname\n\x9b31m"


class ByPrefix(FakeService):
    """A fake service that knows the filter `id_prefix` of a list."""

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        prefix = request.url.params.get("id_prefix")
        if prefix is None:
            return super().answer(request)
        ids = [str(task.id) for task in self.tasks if str(task.id).startswith(prefix)]
        params = [("id", one) for one in ids] or [("name", "\N{SNOWMAN} no such name")]
        return super().answer(httpx2.Request("GET", request.url.copy_with(query=None), params=params))


@pytest.fixture
def fake() -> FakeService:
    service = ByPrefix({"echo": lambda payload: payload}, queues=frozenset({"default", "reports"}))

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


def test_short_ids_of_none_and_of_several_are_told_apart(
    run: Run, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("create", "a")
    run("create", "b")
    monkeypatch.setattr("task_client_cli._ids.dashed", lambda digits: "" if digits == "a" * 8 else digits)

    none, several, seven = run("get", "b" * 20), run("get", "a" * 8), run("get", "abcdef0")

    assert (none.exit_code, several.exit_code, seven.exit_code) == (3, 2, 2)
    assert "no task has an id" in none.stderr
    assert "several tasks" in several.stderr
    assert "first 8 characters" in seven.stderr


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
        "server", "client", "reached", "service", "clock", "status",
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

    listed = run("context", "list")

    assert listed.stdout == "  dev\thttp://dev.test:9000\n* prod\thttps://prod.test\n"
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


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list", "--help"], ["create-many", "--help"]])
def test_help_imports_neither_pydantic_nor_httpx2(words: list[str]) -> None:
    code = (
        "import sys\nfrom task_client_cli.__main__ import main\n"
        f"sys.argv = ['task-client', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print({'pydantic', 'httpx2', 'task_client', 'rich'} & set(sys.modules), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr == "set()\n"
    assert "task-client" in ended.stdout


def test_without_the_extra_the_command_says_so() -> None:
    code = "import sys\nfrom task_client_cli import __main__\n__main__.find_spec = lambda name: None\n__main__.main()"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "task-client[cli]" in ended.stderr
