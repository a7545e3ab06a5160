from __future__ import annotations

import asyncio
import json
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from task_contracts import limits
from task_worker import Fail
from task_worker.attempt.origin import Origin, origin_of
from task_worker.attempt.outcome import Failed
from task_worker.attempt.runners.raised import outcome_of_exception
from task_worker.attempt.runners.thread import call

HERE = __name__


class NoFileError(Exception):
    pass


def raised(run: Callable[[], Any]) -> BaseException:
    try:
        run()
    except BaseException as caught:  # noqa: BLE001 # whatever it is
        return caught
    raise AssertionError


def render() -> None:
    raise NoFileError


def build() -> None:
    render()


def test_place_is_the_innermost_function_of_the_handlers_code_and_the_class_has_its_module() -> None:
    assert origin_of(raised(build)) == Origin(f"{HERE}.NoFileError", f"{HERE} in render")


def test_lines_do_not_count() -> None:
    def twice(number: int) -> None:
        if number == 1:
            raise ValueError
        raise ValueError

    assert origin_of(raised(lambda: twice(1))) == origin_of(raised(lambda: twice(2)))


def test_place_is_where_own_code_called_the_standard_library_or_what_is_installed() -> None:
    class Model(BaseModel):
        number: int

    def parse() -> None:
        json.loads("{")

    def validate() -> None:
        Model.model_validate({})

    assert origin_of(raised(parse)) == Origin("json.decoder.JSONDecodeError", f"{HERE} in {parse.__qualname__}")
    assert origin_of(raised(validate)).frame == f"{HERE} in {validate.__qualname__}"


def installed(name: str, source: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(source, f"/venv/lib/site-packages/{name}.py", "exec"), vars(module))  # as if installed
    return module


def test_handler_that_is_installed_is_own_code_and_the_package_that_it_calls_is_not() -> None:
    library = installed("library", "def ask(): raise OSError")
    handlers = installed("own_worker.orders", "def send(ask): inner(ask)\ndef inner(ask): ask()")

    origin = origin_of(raised(lambda: call_in(handlers.send, library.ask)))

    assert origin == Origin("OSError", f"{HERE} in call_in")  # which is not installed
    (error,) = [raised(lambda: handlers.send(library.ask))]
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without the frames of this test
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert origin_of(error).frame == "own_worker.orders in inner"


def call_in(function: Callable[..., Any], *given: Any) -> None:
    function(*given)


def test_frames_of_the_worker_are_none() -> None:
    outcome = call(build)

    assert isinstance(outcome, Failed)
    assert outcome.kind("report.build").frame == f"{HERE} in render"


def test_failure_without_an_exception_is_told_by_its_code() -> None:
    outcome = call(lambda: object())

    assert isinstance(outcome, Failed)
    kind = outcome.kind("report.build")
    assert (kind.exception, kind.frame) == (outcome.error.code, "")


def test_failure_that_the_handler_asks_for_has_a_place_too_and_passes_a_pipe() -> None:
    def refuse() -> None:
        raise Fail("no such customer", code="no_customer")

    outcome = pickle.loads(pickle.dumps(outcome_of_exception(raised(refuse))))  # our own

    kind = outcome.kind("echo")
    assert (kind.exception, kind.frame) == ("task_worker.exceptions.Fail", f"{HERE} in {refuse.__qualname__}")


class SilentError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


class _HidingType(type):
    def __getattribute__(cls, name: str) -> Any:
        raise SystemExit(name)


def test_exception_whose_text_raises_has_kind_and_traceback() -> None:
    def silent() -> None:
        raise SilentError

    outcome = outcome_of_exception(raised(silent))

    assert isinstance(outcome, Failed)
    assert outcome.kind("echo").exception == f"{HERE}.SilentError"
    assert outcome.traceback is not None
    assert "in silent" in outcome.traceback


def test_exception_whose_class_hides_its_name_has_a_kind() -> None:
    class HiddenError(Exception, metaclass=_HidingType):  # here: pytest looks at what a module holds
        pass

    def hidden() -> None:
        raise HiddenError

    outcome = outcome_of_exception(raised(hidden))

    assert isinstance(outcome, Failed)
    assert outcome.kind("echo").frame == f"{HERE} in {hidden.__qualname__}"
    assert outcome.kind("echo").exception


@pytest.mark.parametrize("name", ["\x1b[2J", "\ud800\x00", "x" * 5_000_000])
def test_names_of_any_kind_are_cut_and_storable(name: str) -> None:
    error = type(name.replace("\x00", "").replace("\ud800", ""), (Exception,), {"__module__": name})()

    origin = origin_of(error)

    origin.exception.encode()
    assert 0 < len(origin.exception) <= limits.FAILURE_PART_CHARS
    assert "\x00" not in origin.exception


def test_deep_recursion_has_a_place() -> None:
    def deeper() -> None:
        deeper()

    assert origin_of(raised(deeper)) == Origin("RecursionError", f"{HERE} in {deeper.__qualname__}")


def test_exception_that_was_never_raised_has_no_place() -> None:
    assert origin_of(ValueError("no")) == Origin("ValueError", "")
    assert origin_of(asyncio.CancelledError()) == Origin("asyncio.exceptions.CancelledError", "")


def test_code_of_this_test_is_not_taken_for_the_workers() -> None:
    assert Path(sys.modules[HERE].__file__ or "").name == "test_origin.py"
