"""The command `task-client` where the service asks for keys: where they come from, and the commands about them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from task_client import KeyText, Scope
from task_client.testing import FakeService
from task_client_cli import _contexts as contexts
from task_client_cli._app import app

Run = Callable[..., Any]
KEY = str(KeyText.new())


@pytest.fixture
def fake() -> FakeService:
    return FakeService({"echo": lambda payload: payload}, require_keys=True)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TASK_SERVER", raising=False)


@pytest.fixture
def run(service: Any, fake: FakeService) -> Run:
    """Run the command with these words in a context of the service, with a key of these scopes; () for none."""
    runner = CliRunner()
    runner.invoke(app, ["context", "add", "prod", service.url, "--api-key-env", "PROD_KEY"])

    def invoke(*words: object, scopes: tuple[Scope, ...] = tuple(Scope), **variables: str) -> Any:
        key = {"PROD_KEY": fake.new_key(*scopes, owner="operator")} if scopes else {}
        return runner.invoke(app, [*map(str, words)], env={"PROD_KEY": None, **key, **variables})

    return invoke


def test_the_key_is_that_of_the_context_and_stands_in_no_file(run: Run, fake: FakeService) -> None:
    done = run("create", "hi", "--json")

    assert (done.exit_code, json.loads(done.stdout)["name"]) == (0, "hi")
    assert fake.requests[-1].headers["authorization"].startswith("Bearer ts_")
    assert "ts_" not in contexts.path().read_text()


def test_a_context_that_is_given_another_server_has_no_key_any_more(run: Run) -> None:
    run("context", "add", "prod", "https://elsewhere.test")

    assert run("context", "show").stdout == "https://elsewhere.test (context prod)\n"


def test_a_service_of_no_context_gets_no_key_unasked(run: Run, service: Any, fake: FakeService) -> None:
    key = fake.new_key(Scope.TASKS_READ)

    unasked = run("list", "--server", service.url)
    asked = [
        run("list", "--server", service.url, "--api-key-env", "OTHER", OTHER=key),
        run("--api-key-env", "OTHER", "list", "--server", service.url, OTHER=key),
    ]

    assert (unasked.exit_code, [one.exit_code for one in asked]) == (3, [0, 0])
    assert "401" in unasked.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--api-key-env", "UNSET"], "there is no key in the variable UNSET"),
        (["list", "--api-key-env", "WRONG"], "there is no key in the variable WRONG"),
        (["list", "--api-key-env", "no name"], "is no name of a variable"),
        (["list", "--api-key-env", KEY], "does not belong on the command line"),
        (["context", "add", "a", "http://a.test", "--api-key-env", KEY], "does not belong on the command line"),
        (
            ["context", "add", "a", "http://a.test", "--api-key-command", f"echo {KEY}"],
            "does not belong on the command",
        ),
        (["context", "add", "a", "http://a.test", "--api-key-command", "echo 'x"], "is no command"),
        (["context", "add", "a", "http://a.test", "--api-key-command", " "], "is empty"),
        (["context", "add", "a", "http://a.test", "--api-key-env", "A", "--api-key-command", "b"], "give one of them"),
        (["keys", "revoke", KEY], "that is a whole key"),
    ],
)
def test_what_is_no_place_of_a_key_is_usage_and_sends_nothing(
    run: Run, fake: FakeService, words: list[str], said: str
) -> None:
    ended = run(*words, WRONG=f"{KEY[:-1]}?")

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert KeyText.parse(KEY).secret not in ended.stderr
    assert fake.requests == []


@pytest.fixture
def by_command(service: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Run `list` in a context whose key is printed by this Python code."""

    def invoke(code: str) -> Any:
        script = tmp_path / "print key.py"
        script.write_text(code)
        command = f"{sys.executable} '{script}'"
        runner = CliRunner()
        added = runner.invoke(app, ["context", "add", "c", service.url, "--api-key-command", command])
        assert added.exit_code == 0
        return runner.invoke(app, ["list", "--context", "c"])

    return invoke


def test_a_key_may_be_what_a_command_prints_first(by_command: Callable[[str], Any], fake: FakeService) -> None:
    done = by_command(f"import sys; print({fake.new_key()!r}); print('more'); sys.stderr.write('unlocked')")

    assert (done.exit_code, done.stderr) == (0, "no task is like that\n")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('the store is locked\\x1b[2J')", "ended with 1: the store is locked\\u001b[2J"),
        ("print()", "there is no key in the command"),
        ("print('not a key')", "there is no key in the command"),
    ],
)
def test_a_command_that_prints_no_key_says_why(by_command: Callable[[str], Any], code: str, said: str) -> None:
    ended = by_command(code)

    assert ended.exit_code == 2
    assert said in ended.stderr
    assert "not a key" not in ended.stderr


def test_a_command_that_cannot_be_run_is_named(run: Run) -> None:
    run("context", "add", "a", "http://a.test", "--api-key-command", "/nowhere/at-all --key")

    ended = run("list", "--context", "a")

    assert ended.exit_code == 2
    assert "/nowhere/at-all --key' cannot be run: No such file" in ended.stderr


def test_a_command_that_hangs_is_given_up_even_if_what_it_started_goes_on(
    by_command: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_client_cli._key_places._COMMAND_SECONDS", 0.5)
    began = time.monotonic()

    ended = by_command("import subprocess, time; subprocess.Popen(['sleep', '20']); time.sleep(20)")

    assert ended.exit_code == 2
    assert "took longer than 0.5 s" in ended.stderr
    assert time.monotonic() - began < 10


def test_where_the_key_comes_from_is_shown_and_the_key_is_not(run: Run) -> None:
    shown, listed, as_json = run("context", "show"), run("context", "list"), run("context", "show", "--json")

    assert shown.stdout.splitlines()[1] == "with the key from the variable PROD_KEY"
    assert listed.stdout.split("\t")[3] == "the variable PROD_KEY\n"
    assert json.loads(as_json.stdout)["key"] == "the variable PROD_KEY"


@pytest.mark.parametrize(
    ("scopes", "code", "said"),
    [
        ((), 2, "there is no key in the variable PROD_KEY"),
        ((Scope.TASKS_READ, Scope.TASKS_WRITE), 0, "(from the variable PROD_KEY) may tasks:read, tasks:write\n"),
        ((Scope.TASKS_PAYLOAD,), 0, "may tasks:read, tasks:payload\n"),
        ((Scope.OPERATE, Scope.METRICS), 0, "may operate, metrics\n"),
        ((Scope.KEYS,), 0, "may keys\n"),
        (tuple(Scope), 0, "may keys, metrics, operate, tasks:payload, tasks:read, tasks:write\n"),
    ],
)
def test_doctor_says_what_the_key_may_do_and_changes_nothing(
    run: Run, fake: FakeService, scopes: tuple[Scope, ...], code: int, said: str
) -> None:
    ended = run("doctor", scopes=scopes)

    assert ended.exit_code == code
    assert said in ended.stdout + ended.stderr
    assert (fake.tasks, [one.method for one in fake.requests if one.method not in {"GET", "DELETE"}]) == ([], [])


def test_doctor_says_that_a_key_is_refused_or_missing(run: Run, service: Any) -> None:
    refused = run("doctor", scopes=(), PROD_KEY=KEY)
    missing = run("doctor", "--server", service.url)

    assert (refused.exit_code, missing.exit_code) == (3, 3)
    assert "is refused: unknown, expired or revoked" in refused.stdout
    assert "none, and the service asks for one" in missing.stdout
    assert "says its version to keys with the scope tasks:read alone" in missing.stdout


def test_doctor_says_that_a_key_is_not_looked_at(serve: Callable[..., Any], fake: FakeService) -> None:
    server = serve()
    server.fake = FakeService()

    ended = CliRunner().invoke(app, ["doctor", "--server", server.url, "--api-key-env", "A"], env={"A": KEY})

    assert ended.exit_code == 0
    assert "is not looked at: the service asks for no keys" in ended.stdout


def test_a_new_key_alone_is_on_stdout_and_works(run: Run) -> None:
    made = run(
        "keys", "create", "billing", "--scope", "tasks:write,tasks:read", "--owner", "billing", "--expires", "90d"
    )

    assert made.exit_code == 0
    key = made.stdout.strip()
    assert (
        made.stderr
        == f"the key {KeyText.parse(key).id} of billing may tasks:read, tasks:write; it is shown this once\n"
    )
    assert run("create", "hi", scopes=(), PROD_KEY=key).exit_code == 0


def test_keys_are_listed_and_revoked_by_id(run: Run) -> None:
    made = json.loads(run("keys", "create", "billing", "--scope", "tasks:read", "--json").stdout)
    revoked = run("keys", "revoke", made["id"], "aaaaaaaaaaaa")
    now, ever = run("keys", "list"), run("keys", "list", "--all", "--json")

    assert (revoked.exit_code, revoked.stderr.splitlines()[0]) == (3, f"{made['id']} is revoked")
    assert "key_not_found" in revoked.stderr
    assert made["id"] not in now.stdout
    assert [one["revoked_at"] is None for one in json.loads(ever.stdout) if one["id"] == made["id"]] == [False]
    assert KeyText.parse(made["key"]).secret not in ever.stdout


@pytest.mark.parametrize("words", [["keys", "list"], ["pauses"], ["audit"], ["keys", "create", "a", "--scope", "keys"]])
def test_what_the_key_may_not_is_3_and_names_the_scope(run: Run, words: list[str]) -> None:
    ended = run(*words, scopes=(Scope.TASKS_READ,))

    assert ended.exit_code == 3
    assert "403 forbidden" in ended.stderr
    assert "scope " in ended.stderr


def test_a_pause_is_made_listed_and_ended(run: Run, fake: FakeService) -> None:
    made = run("pause", "--queue", "default", "--priority", "low", "--reason", "mail is down", "--for", "2h")
    pause_id = made.stdout.strip()
    standing, audited = run("pauses"), run("audit", "--action", "tasks.pause")
    ended, again = run("resume", pause_id[:13]), run("resume", pause_id)

    assert made.exit_code == 0
    assert made.stderr.startswith("queue=default priority=LOW: paused until 2")
    assert standing.stdout.split("\t")[1:4] == ["default", "all", "LOW"]
    assert audited.stdout.split("\t")[1:3] == ["operator", "tasks.pause"]
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, made.stdout, "queue=default priority=LOW: resumed\n")
    assert (again.exit_code, "pause_is_over" in again.stderr) == (3, True)
    assert run("pauses").stderr == "nothing is paused\n"
    assert json.loads(run("pauses", "--all", "--json").stdout)[0]["reason"] == "mail is down"


def test_everything_is_never_paused_unasked(run: Run) -> None:
    asked, told = run("pause"), run("pause", "--yes")

    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "pause all tasks on" in asked.stderr
    assert "add --yes" in asked.stderr
    assert (told.exit_code, told.stderr) == (0, "all tasks: paused until it is resumed\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--queue", "a", "--for", "2h", "--until", "2h"], "not both"),
        (["--queue", "a", "--for", "soon"], "is no span"),
        (["--queue", "a", "--until", "soon"], "is no time"),
        (["--priority", "urgent"], "there are LOW"),
    ],
)
def test_what_is_typed_wrong_pauses_nothing(run: Run, fake: FakeService, words: list[str], said: str) -> None:
    ended = run("pause", *words)

    assert ended.exit_code == 2
    assert said in ended.stderr
    assert fake.requests == []


def test_a_pause_that_is_not_there_is_refused(run: Run) -> None:
    ended = run("resume", "0123")

    assert ended.exit_code == 3
    assert "no pause has an id that begins with 0123" in ended.stderr


def test_the_audit_stops_at_its_limit_and_all_goes_through_every_page(run: Run) -> None:
    for _ in range(3):
        run("cancel", "--all", "--yes")
        run("pause", "--queue", "default")

    assert len(run("audit", "--limit", "2").stdout.splitlines()) == 2
    assert len(run("audit", "--all", "--actor", "operator").stdout.splitlines()) == 3
    assert run("audit", "--actor", "nobody").stderr == "no operator has done that\n"
