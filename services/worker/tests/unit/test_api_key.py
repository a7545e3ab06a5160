"""The worker's key for the API: its handlers' clients send it, and nothing else of them sees it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from task_client import UnauthenticatedError
from task_client.testing import FakeService
from task_contracts import KeyText
from task_contracts.testing import an_id
from task_runtime import read_settings
from task_runtime import settings as runtime_settings
from task_worker.context import Context, TaskDetails
from task_worker.context_clients import ContextAsyncTaskClient, ContextTaskClient, _log_refused
from task_worker.create_keys import CreateKeys
from task_worker.settings import WorkerSettings

KEY = str(KeyText.new())
SECRET = KeyText.parse(KEY).secret
SomeDetails = Callable[..., TaskDetails]


@pytest.fixture(autouse=True)
def nothing_logged() -> Iterator[None]:
    _log_refused.cache_clear()
    yield
    _log_refused.cache_clear()


@pytest.fixture
def service() -> FakeService:
    return FakeService({"echo": lambda payload: payload}, require_keys=True)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> WorkerSettings:
    urls = {"TASK_DATABASE_URL": "postgresql://a@b/c", "TASK_BROKER_URL": "amqp://a:b@c:5672/"}
    for name, value in {**urls, **variables}.items():
        monkeypatch.setenv(name, value)
    return read_settings(WorkerSettings)


def test_the_key_comes_from_the_environment_or_a_secret_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_variable = read(monkeypatch, TASK_WORKER_API_KEY=KEY)
    monkeypatch.delenv("TASK_WORKER_API_KEY")
    (tmp_path / "TASK_WORKER_API_KEY").write_text(f"{KEY}\n")
    monkeypatch.setattr(runtime_settings, "SECRETS_FOLDER", tmp_path)
    by_secret = read(monkeypatch)

    for settings in (by_variable, by_secret):
        assert settings.api_key is not None
        assert settings.api_key.get_secret_value() == KEY
        assert SECRET not in repr(settings)


def test_a_mistyped_key_ends_the_start_without_being_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(monkeypatch, TASK_WORKER_API_KEY=f"{KEY[:-1]}?")

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: TASK_WORKER_API_KEY: ")
    assert SECRET not in said


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, TASK_WORKER_API_KEY="").api_key is None


def test_what_handlers_start_does_not_inherit_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, TASK_WORKER_API_KEY=KEY)

    settings.hide_api_key()

    child = subprocess.run(
        [sys.executable, "-c", "import os; print(*os.environ.values())"], capture_output=True, text=True, check=True
    )
    assert "TASK_WORKER_API_KEY" not in os.environ
    assert SECRET not in child.stdout
    settings.hide_api_key()  # once more does nothing


def test_the_details_of_a_task_carry_the_key_to_a_process_and_do_not_show_it(
    monkeypatch: pytest.MonkeyPatch, some_details: SomeDetails
) -> None:
    details = some_details(api_key=read(monkeypatch, TASK_WORKER_API_KEY=KEY).api_key)

    arrived = pickle.loads(pickle.dumps(details))

    assert arrived.api_key.get_secret_value() == KEY
    assert SECRET not in repr(arrived)


async def test_both_clients_of_a_context_send_the_key(
    monkeypatch: pytest.MonkeyPatch, some_details: SomeDetails, service: FakeService
) -> None:
    key = read(monkeypatch, TASK_WORKER_API_KEY=service.new_key()).api_key
    context = Context(
        some_details(api_key=key),
        report=print,
        store_checkpoint=print,
        is_stopped=lambda: False,  # type: ignore[arg-type] # none is called
    )
    try:
        clients: list[Any] = [context.client, context.sync_client]
        sent = [next(client._http.auth.sync_auth_flow(request(client))).headers for client in clients]
    finally:
        await context.aclose()

    assert key is not None
    assert [headers["authorization"] for headers in sent] == [f"Bearer {key.get_secret_value()}"] * 2


def request(client: Any) -> Any:
    return client._http.build_request("GET", "/api/v1/stats")


async def test_a_refused_key_is_logged_once_and_the_handler_gets_the_error(
    monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    key = read(monkeypatch, TASK_WORKER_API_KEY=KEY).api_key
    keys = CreateKeys(an_id(), 0)
    with capture_logs() as logs:
        for _ in range(2):
            with (
                ContextTaskClient("http://a.test", print, keys, api_key=key, transport=service.transport) as client,
                pytest.raises(UnauthenticatedError),
            ):
                client.create(name="a")
            async with ContextAsyncTaskClient(
                "http://a.test", print, keys, api_key=key, transport=service.async_transport
            ) as asynchronous:
                with pytest.raises(UnauthenticatedError):
                    await asynchronous.create(name="a")

    (line,) = logs
    assert (line["event"], line["log_level"]) == ("api_key_refused", "error")
    assert "TASK_WORKER_API_KEY is unknown, expired or revoked" in line["reason"]
    assert SECRET not in str(line)


def test_a_key_that_is_missing_is_said_so(service: FakeService) -> None:
    with (
        capture_logs() as logs,
        ContextTaskClient("http://a.test", print, CreateKeys(an_id(), 0), transport=service.transport) as client,
        pytest.raises(UnauthenticatedError),
    ):
        client.create(name="a")

    assert ["is not set" in line["reason"] for line in logs] == [True]


def test_a_refused_stream_is_logged_too(service: FakeService) -> None:
    with (
        capture_logs() as logs,
        ContextTaskClient("http://a.test", print, CreateKeys(an_id(), 0), transport=service.transport) as client,
        pytest.raises(UnauthenticatedError),
    ):
        next(client.events(type="a"))

    assert [line["event"] for line in logs] == ["api_key_refused"]
