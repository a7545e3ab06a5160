"""The caller's key: it goes with every request, a mistyped one goes nowhere, and nothing shows it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from task_client import (
    AsyncTaskClient,
    ForbiddenError,
    KeyText,
    Problem,
    ProblemCode,
    Scope,
    TaskClient,
    TooManyRequestsError,
    UnauthenticatedError,
    View,
)
from task_client._keys import _warn_of_plain_http
from task_client.testing import FakeService
from task_contracts import PROBLEM_MEDIA_TYPE
from task_contracts.testing import an_id

KEY = str(KeyText.new())
SECRET = KeyText.parse(KEY).secret
Make = Callable[..., Any]


@pytest.fixture
def fake() -> FakeService:
    return FakeService({"echo": lambda payload: payload}, require_keys=True)


@pytest.fixture(autouse=True)
def nothing_warned() -> Iterator[None]:
    _warn_of_plain_http.cache_clear()
    yield
    _warn_of_plain_http.cache_clear()


def refusing(status: int, code: str, sent: list[str], **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return what refuses the first two requests, and then says that it is well."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("authorization", ""))
        if len(sent) > 2:
            return httpx2.Response(200, json={"items": []})
        content = Problem(title="t", status=status, detail="needs keys", code=code).model_dump_json()
        return httpx2.Response(status, content=content, headers={"content-type": PROBLEM_MEDIA_TYPE, **headers})

    return answer


def with_locals(error: BaseException | None) -> Iterator[str]:
    """Yield what a tracer of errors reports: each frame with its variables, but those of this file."""
    while error is not None:
        frames = [one for one in traceback.walk_tb(error.__traceback__) if one[0].f_code.co_filename != __file__]
        yield from traceback.StackSummary.extract(iter(frames), capture_locals=True).format()
        error = error.__cause__ or error.__context__


async def test_the_key_goes_with_every_request_streams_too(connect: Make, fake: FakeService, service: Any) -> None:
    talk = connect(service.url, api_key=f"{fake.new_key()}\n")
    task = await talk("create", name="a", payload={"n": 1})

    assert [one.result for one in await talk.first(None, "as_completed", [task.id])] == [{"n": 1}]
    assert [one.status for one in await talk.first(None, "events", task.id)] == ["COMPLETED"]
    assert any("/events" in line for line in service.requests)
    assert len(fake.requests) == len(service.requests)


async def test_a_key_that_is_asked_for_each_time_can_be_replaced(connect: Make) -> None:
    sent: list[str] = []
    keys = [str(KeyText.new()) for _ in range(3)]
    left = iter(keys)
    talk = connect(answer=refusing(503, "unavailable", sent), api_key=lambda: next(left))

    await talk("workers")

    assert sent == [f"Bearer {key}" for key in keys]


@pytest.mark.parametrize("wrong", ["", "password1", KEY[:-1], KEY[:20] + "?" + KEY[21:], KEY[::-1], f"{KEY}\r\nX: y"])
async def test_a_mistyped_key_is_never_sent_nor_repeated_in_the_error(connect: Make, wrong: str) -> None:
    sent: list[str] = []
    answer = refusing(503, "unavailable", sent)

    with pytest.raises(ValueError, match="not sent, since it cannot be right") as at_once:
        connect(answer=answer, api_key=wrong)
    talk = connect(answer=answer, api_key=lambda: wrong)
    with pytest.raises(ValueError, match="not sent, since it cannot be right") as at_the_call:
        await talk("workers")

    assert sent == []
    for error in (at_once.value, at_the_call.value):
        assert wrong == "" or wrong not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UnauthenticatedError), (403, ForbiddenError)], ids=["unknown", "without the scope"]
)
async def test_a_refused_key_is_not_sent_again(connect: Make, status: int, kind: type[Exception]) -> None:
    sent: list[str] = []
    talk = connect(answer=refusing(status, "a_code", sent, **{"Retry-After": "0"}), api_key=KEY)

    with pytest.raises(kind, match="needs keys"):
        await talk("workers")
    with pytest.raises(kind):
        await talk("wait", an_id(), 5)

    assert len(sent) == 2


async def test_too_many_failed_attempts_are_waited_for_as_long_as_the_service_asks(connect: Make) -> None:
    sent: list[str] = []
    talk = connect(answer=refusing(429, "too_many_failed_attempts", sent, **{"Retry-After": "1"}), api_key=KEY)
    began = time.monotonic()

    assert await talk("workers") == []

    assert len(sent) == 3
    assert time.monotonic() - began >= 2


async def test_a_longer_pause_than_a_call_waits_is_an_error_that_says_how_long(connect: Make) -> None:
    sent: list[str] = []
    talk = connect(answer=refusing(429, "too_many_failed_attempts", sent, **{"Retry-After": "600"}), api_key=KEY)

    with pytest.raises(TooManyRequestsError) as late:
        await talk("workers")

    assert (late.value.retry_after, late.value.is_transient, len(sent)) == (600, True, 1)


@pytest.mark.parametrize("given", [KEY, lambda: KEY], ids=["a text", "a callable"])
async def test_nothing_shows_the_key(
    connect: Make, service: Any, caplog: pytest.LogCaptureFixture, given: str | Callable[[], str]
) -> None:
    caplog.set_level(logging.DEBUG)
    talk = connect(service.url, api_key=given)
    nobody = connect("http://127.0.0.1:1", api_key=given)
    errors = []
    for client in (talk, nobody):
        with pytest.raises(Exception, match="/api/v1/stats") as caught:
            await client("stats")
        errors.append(caught.value)

    shown = [repr(one) for one in (talk.client, vars(talk.client), vars(talk.client._http), talk.client._http.auth)]
    for error in errors:
        shown += [repr(error), repr(vars(error)), *with_locals(error)]
    shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert caplog.records
    assert SECRET not in "\n".join(shown)


@pytest.mark.parametrize("client", [TaskClient, AsyncTaskClient])
@pytest.mark.parametrize(
    ("url", "headers"),
    [("http://user:password@localhost", {}), ("http://localhost", {"authorization": "Basic x"})],
)
def test_one_thing_alone_can_be_sent_as_authorization(client: type[Any], url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one can be sent"):
        client(url, api_key=KEY, headers=headers)


@pytest.mark.parametrize(
    ("url", "warnings"),
    [
        ("http://127.0.0.1:9000", 0),
        ("http://[::1]:9000", 0),
        ("http://localhost", 0),
        ("http://api:9000", 0),
        ("https://tasks.example.org", 0),
        ("http://tasks.example.org", 1),
        ("http://10.0.0.7:9000", 1),
        ("http://[2001:db8::1]:9000", 1),
    ],
)
def test_a_key_that_others_can_read_on_its_way_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, url: str, warnings: int
) -> None:
    for _ in range(2):
        TaskClient(url, api_key=KEY).close()
    TaskClient(url).close()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
    assert all("without TLS" in record.getMessage() for record in caplog.records)


async def test_what_a_key_may_do_is_what_its_scopes_say(connect: Make, fake: FakeService) -> None:
    def talk(*scopes: Scope) -> Any:
        return connect(answer=fake.answer, api_key=fake.new_key(*scopes))

    calls: dict[Scope, tuple[Any, ...]] = {
        Scope.TASKS_READ: ("page",),
        Scope.TASKS_WRITE: ("create", {"name": "a", "payload": {"n": 1}}),
        Scope.OPERATE: ("list_pauses",),
        Scope.KEYS: ("list_keys",),
        Scope.METRICS: ("demand", "default"),
    }
    for scope, (method, *args) in calls.items():
        await talk(scope)(method, *args)
        with pytest.raises(ForbiddenError) as lacking:
            await talk(*(set(Scope) - {scope, Scope.TASKS_READ, Scope.TASKS_PAYLOAD}))(method, *args)
        assert f"scope {scope}" in lacking.value.detail
    await talk(Scope.TASKS_READ)("demand", "default")


async def test_who_may_not_see_payloads_gets_tasks_without_them(connect: Make, fake: FakeService) -> None:
    reader = connect(answer=fake.answer, api_key=fake.new_key(Scope.TASKS_READ, Scope.TASKS_WRITE))
    viewer = connect(answer=fake.answer, api_key=fake.new_key(Scope.TASKS_PAYLOAD))
    task = await reader("create", name="a", payload={"n": 1})

    ended = [await talk("wait", task.id, 5) for talk in (reader, viewer)]

    assert [(one.payload, one.result) for one in ended] == [({}, None), ({"n": 1}, {"n": 1})]
    with pytest.raises(ForbiddenError, match="tasks:payload"):
        await reader("page", view=View.FULL)


async def test_keys_are_created_listed_and_revoked(connect: Make, fake: FakeService) -> None:
    first = fake.new_key(owner="operator")
    talk = connect(answer=fake.answer, api_key=first)
    created = await talk("create_key", "billing", [Scope.TASKS_WRITE, "keys"], owner="billing")
    theirs = connect(answer=fake.answer, api_key=created.key)
    await theirs("create", name="a")

    with pytest.raises(ForbiddenError, match="operate"):
        await theirs("create_key", "more than it has", ["operate"])
    known = {key.id: key for key in await talk("list_keys")}
    assert known[created.id].last_used_at is not None
    assert (created.owner, created.created_by) == ("billing", "operator")
    assert KeyText.parse(created.key).secret not in repr(created) + repr(known)

    await talk("revoke_key", created.id)

    with pytest.raises(UnauthenticatedError):
        await theirs("create", name="a")
    assert [key.id for key in await talk("list_keys")] == [KeyText.parse(first).id]
    assert len(await talk("list_keys", include_revoked=True)) == 2
    with pytest.raises(Exception, match="last_key"):
        await talk("revoke_key", KeyText.parse(first).id)
    audited = [(entry.action, entry.target) for entry in await talk.first(None, "list_audit", actor="operator")]
    assert audited == [("keys.revoke", created.id), ("keys.create", created.id)]


async def test_the_whole_key_never_stands_in_a_url(connect: Make, fake: FakeService) -> None:
    talk = connect(answer=fake.answer, api_key=fake.new_key())
    with pytest.raises(ValueError, match="the id of the key") as refused:
        await talk("revoke_key", KEY)

    assert SECRET not in str(refused.value)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, ProblemCode.UNAUTHENTICATED, UnauthenticatedError),
        (403, ProblemCode.FORBIDDEN, ForbiddenError),
        (429, ProblemCode.TOO_MANY_FAILED_ATTEMPTS, TooManyRequestsError),
    ],
)
async def test_a_stream_that_is_refused_says_why(
    connect: Make, status: int, code: ProblemCode, kind: type[Exception]
) -> None:
    content = Problem(title="t", status=status, detail="d", code=code).model_dump_json()
    headers = {"content-type": PROBLEM_MEDIA_TYPE}
    talk = connect(answer=lambda _: httpx2.Response(status, content=content, headers=headers), api_key=KEY)

    with pytest.raises(kind):
        await talk.first(1, "events", type="a")
