"""deploy/make-secrets.py: what it writes, and what it leaves as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.compose import ROOT
from task_contracts import KeyText

API_BROKER, WORKER_BROKER, DEFINITIONS = "task_api_broker_url", "task_worker_broker_url", "rabbitmq_definitions.json"
KEYS = ("operator_api_key", "task_worker_api_key")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder of secrets of a clone in which they were made."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    folder = tmp_path / "deploy" / "secrets"
    make(folder)
    return folder


def make(secrets: Path) -> str:
    command = [sys.executable, str(secrets.parent / "make-secrets.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def texts(secrets: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in secrets.iterdir()}


def test_every_password_is_another_and_stands_in_its_address(secrets: Path) -> None:
    made = texts(secrets)
    passwords = {name: text for name, text in made.items() if name.endswith("_password")}

    assert len(set(passwords.values())) == len(passwords) == 4
    for role in ("task_migrator", "task_api", "task_worker"):
        assert made[f"{role}_database_url"] == f"postgresql://{role}:{passwords[f'{role}_password']}@db:5432/tasks"
    assert {user["name"] for user in json.loads(made[DEFINITIONS])["users"]} == {"task_api", "task_worker"}


def test_the_keys_are_keys_of_the_api_and_each_is_another(secrets: Path) -> None:
    keys = [KeyText.parse((secrets / name).read_text()) for name in KEYS]

    assert len(set(keys)) == len({key.id for key in keys}) == 2


def test_a_key_that_is_removed_is_made_anew_alone(secrets: Path) -> None:
    before = texts(secrets)
    (secrets / KEYS[0]).unlink()

    make(secrets)

    assert {name for name, text in texts(secrets).items() if text != before[name]} == {KEYS[0]}


def test_only_its_owner_gets_at_them_on_this_machine_and_any_user_in_a_container(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}


def test_once_more_changes_nothing(secrets: Path) -> None:
    before = texts(secrets)

    assert "nothing, it is all there" in make(secrets)
    assert texts(secrets) == before


def test_what_is_lost_is_made_anew_with_what_goes_with_it_and_the_rest_stays(secrets: Path) -> None:
    before = texts(secrets)
    (secrets / API_BROKER).unlink()

    said = make(secrets)
    after = texts(secrets)

    assert {name for name in after if after[name] != before[name]} == {API_BROKER, WORKER_BROKER, DEFINITIONS}
    assert said.splitlines()[-1] == f"replaced: {WORKER_BROKER}, {DEFINITIONS}; now `up -d --force-recreate`"


def test_a_run_that_is_killed_while_it_replaces_leaves_nothing_that_does_not_fit(secrets: Path) -> None:
    before = texts(secrets)
    (secrets / API_BROKER).unlink()
    killed = "import os, runpy, sys; sys.addaudithook(lambda event, args: event == 'os.chmod' and os._exit(9)); "
    command = [
        sys.executable,
        "-c",
        killed + f"runpy.run_path({str(secrets.parent / 'make-secrets.py')!r}, None, '__main__')",
    ]
    assert subprocess.run(command, check=False).returncode == 9
    assert {API_BROKER, WORKER_BROKER, DEFINITIONS} & texts(secrets).keys() == {API_BROKER}

    make(secrets)
    after = texts(secrets)

    assert {name for name in after if after[name] != before[name]} == {API_BROKER, WORKER_BROKER, DEFINITIONS}
