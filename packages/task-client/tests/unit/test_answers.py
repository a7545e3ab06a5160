"""Reading answers: models, problems, and answers that do not come from the service."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

import task_client
from task_client import (
    ConflictError,
    ConnectionFailedError,
    KeyMismatchError,
    NotFoundError,
    ProblemError,
    RequestTimeoutError,
    TaskChangedError,
    TaskClientError,
    TaskFinishedError,
    UnavailableError,
    UnexpectedAnswerError,
    ValidationFailedError,
    WaitTimeoutError,
)
from task_client._answers import no_answer, read
from task_client._call import Call
from task_contracts import PROBLEM_MEDIA_TYPE, FieldProblem, Problem, ProblemCode, Task
from task_contracts.testing import a_task, an_id, assert_linear

GET, POST = Call("GET", "/x"), Call("POST", "/x", is_repeat_safe=False)


def a_problem(status: int, code: str = "a_code", **fields: Any) -> Problem:
    return Problem(title="A title", status=status, detail="what is wrong", code=code, **fields)


def answer(
    status: int, body: str | bytes = b"", media_type: str = "application/json", **headers: str
) -> httpx2.Response:
    content = body.encode() if isinstance(body, str) else body
    return httpx2.Response(status, content=content, headers={"content-type": media_type, **headers})


def error_of(response: httpx2.Response, call: Call = GET) -> TaskClientError:
    with pytest.raises(TaskClientError) as raised:
        read(response, call, Task)
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_an_answer_is_read_as_its_model(status: int, media_type: str) -> None:
    task = a_task()

    assert read(answer(status, task.model_dump_json(), media_type), GET, Task) == task


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, ProblemCode.TASK_NOT_FOUND, NotFoundError),
        (404, ProblemCode.NOT_FOUND, NotFoundError),
        (409, ProblemCode.TASK_FINISHED, TaskFinishedError),
        (409, "another", ConflictError),
        (412, "version_mismatch", TaskChangedError),
        (422, "idempotency_mismatch", KeyMismatchError),
        (422, ProblemCode.VALIDATION, ValidationFailedError),
        (422, ProblemCode.UNKNOWN_QUEUE, ValidationFailedError),
        (503, ProblemCode.UNAVAILABLE, UnavailableError),
        (413, ProblemCode.BODY_TOO_LARGE, ProblemError),
        (500, ProblemCode.INTERNAL, ProblemError),
        (418, "of a newer server", ProblemError),
    ],
)
def test_a_problem_becomes_the_error_that_a_caller_treats_differently(
    status: int, code: str, kind: type[ProblemError]
) -> None:
    error = error_of(answer(status, a_problem(status, code).model_dump_json(), PROBLEM_MEDIA_TYPE))

    assert type(error) is kind
    assert isinstance(error, ProblemError)
    assert (error.status, error.code, error.title, error.detail) == (status, code, "A title", "what is wrong")
    assert error.is_transient is (status == 503)


def test_a_problem_names_its_fields_in_its_text() -> None:
    problem = a_problem(422, "validation_error", errors=[FieldProblem(field="body.name", message="must not be blank")])
    error = error_of(answer(422, problem.model_dump_json(), PROBLEM_MEDIA_TYPE))

    assert isinstance(error, ValidationFailedError)
    assert error.errors == problem.errors
    assert str(error) == "GET /x: 422 validation_error: what is wrong\n  body.name: must not be blank"


def test_after_a_refusal_a_repeat_is_safe_and_after_a_failure_only_of_what_changes_nothing_twice() -> None:
    refused, failed = (answer(s, a_problem(s).model_dump_json(), PROBLEM_MEDIA_TYPE) for s in (422, 503))

    assert error_of(refused, POST).is_repeat_safe
    assert error_of(failed, GET).is_repeat_safe
    assert not error_of(failed, POST).is_repeat_safe


@pytest.mark.parametrize(
    "response",
    [
        answer(200, "<html>log in</html>", "text/html"),
        answer(200, "", ""),
        answer(200, "{", "application/json"),
        answer(200, "{}", "application/json"),
        answer(200, "null", "application/json"),
        answer(200, b"\xff", "application/json"),
        answer(200, a_problem(500).model_dump_json(), PROBLEM_MEDIA_TYPE),
        answer(204),
        answer(301, "", location="https://elsewhere.test"),
        answer(304, ""),
        answer(404, "<html>no such page</html>", "text/html"),
        answer(404, '{"detail": "Not Found"}', "application/json"),
        answer(422, "{}", PROBLEM_MEDIA_TYPE),
        answer(422, "<", PROBLEM_MEDIA_TYPE),
        answer(502, "<html>bad gateway</html>", "text/html"),
    ],
)
def test_what_is_not_the_services_is_an_unexpected_answer(response: httpx2.Response) -> None:
    error = error_of(response)

    assert type(error) is UnexpectedAnswerError
    assert error.status == response.status_code
    assert error.is_transient is (response.status_code == 502)


def test_an_unexpected_answer_shows_how_it_begins_and_no_more() -> None:
    error = error_of(answer(502, "<html>" + "x" * 10_000, "text/html"), POST)

    assert isinstance(error, UnexpectedAnswerError)
    assert len(error.beginning) == 200
    assert "<html>" in str(error)
    assert not error.is_repeat_safe


def test_a_status_that_comes_with_an_answer_is_no_problem() -> None:
    call = Call("GET", "/health/ready", answers=frozenset({503}))
    task = a_task()

    assert read(answer(503, task.model_dump_json()), call, Task) == task
    with pytest.raises(UnexpectedAnswerError):
        read(answer(503, "<html>", "text/html"), call, Task)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        (" 30 ", 30.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("Sun, 01 Nov 2020 12:00:00 GMT", 0.0),
        ("Sun, 99 Nov 2020 12:00:00 GMT", None),
        ("Sun Nov  1 12:00:00 2020", 0.0),
        ("Sun, 01 Nov 2020 12:00:00 +99999999999999", None),
    ],
)
def test_retry_after_is_read_and_rubbish_in_it_ignored(header: str, seconds: float | None) -> None:
    body = a_problem(503).model_dump_json()

    assert error_of(answer(503, body, PROBLEM_MEDIA_TYPE, **{"retry-after": header})).retry_after == seconds
    assert error_of(answer(503, "<", "text/html", **{"retry-after": header})).retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    error = error_of(answer(503, "<", "text/html", **{"retry-after": in_a_minute}))

    assert error.retry_after == pytest.approx(60, abs=30)


@pytest.mark.parametrize(
    ("cause", "kind", "is_create_safe"),
    [
        (httpx2.ConnectError("refused"), ConnectionFailedError, True),
        (httpx2.ProxyError("407"), ConnectionFailedError, True),
        (httpx2.ConnectTimeout(""), RequestTimeoutError, True),
        (httpx2.PoolTimeout(""), RequestTimeoutError, True),
        (httpx2.WriteError("reset"), ConnectionFailedError, False),
        (httpx2.ReadError("reset"), ConnectionFailedError, False),
        (httpx2.RemoteProtocolError("hung up"), ConnectionFailedError, False),
        (httpx2.WriteTimeout(""), RequestTimeoutError, False),
        (httpx2.ReadTimeout(""), RequestTimeoutError, False),
    ],
)
def test_without_an_answer_a_create_is_safe_to_repeat_only_if_nothing_was_sent(
    cause: httpx2.RequestError, kind: type[TaskClientError], is_create_safe: bool
) -> None:
    created, read_ = no_answer(cause, POST), no_answer(cause, GET)

    assert type(created) is type(read_) is kind
    assert created.is_repeat_safe is is_create_safe
    assert read_.is_repeat_safe
    assert created.is_transient
    assert ("may have been done" in str(created)) is not is_create_safe
    assert "/x" in str(created)


def test_an_answer_that_cannot_be_decoded_is_unexpected() -> None:
    error = no_answer(httpx2.DecodingError("not gzip"), POST)

    assert type(error) is UnexpectedAnswerError
    assert (error.status, error.is_repeat_safe, error.is_transient) == (None, False, False)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("refused", True),
        RequestTimeoutError("slow", False),
        NotFoundError(a_problem(404), None, True),
        UnavailableError(a_problem(503), 2.0, False),
        UnexpectedAnswerError(502, "<html>", 1.0, False),
        WaitTimeoutError((an_id(),), 5, a_task()),
        WaitTimeoutError((an_id(), an_id()), 5),
    ],
)
def test_an_error_can_cross_to_another_process(error: TaskClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_every_error_has_one_base() -> None:
    values = [getattr(task_client, name) for name in task_client.__all__]
    errors = [value for value in values if isinstance(value, type) and issubclass(value, BaseException)]

    assert all(issubclass(error, TaskClientError) for error in errors)
    assert len(errors) > 10


def test_an_error_names_the_url_without_its_secrets_and_the_cause_in_the_systems_words() -> None:
    failed = httpx2.ConnectError("All connection attempts failed")
    failed.request = httpx2.Request("GET", "http://user:secret@service.test/x?label=customer:42")
    failed.__cause__ = OSError(111, "Connection refused")

    text = str(no_answer(failed, GET))

    assert text == "GET http://service.test/x: Connection refused"


def test_a_create_without_an_answer_says_how_to_repeat_it_safely() -> None:
    error = no_answer(httpx2.ReadTimeout(""), Call("POST", "/x", is_repeat_safe=False, key="a-key"))

    assert error.key == "a-key"
    assert "key='a-key'" in str(error)


def test_no_answer_takes_more_than_linear_time_to_read() -> None:
    def read_all(text: str) -> None:
        value = text.encode(errors="replace")
        headers = httpx2.Headers({"content-type": value, "retry-after": value})
        error_of(httpx2.Response(502, content=value, headers=headers))

    assert_linear(read_all)
