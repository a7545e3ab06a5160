"""The answers of a fake service: models, problem documents, and answers that are held back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import httpx2
from pydantic import BaseModel

from task_contracts import PROBLEM_MEDIA_TYPE, FieldProblem, Problem, ProblemCode

_PAYLOADS = frozenset({"payload", "result", "traceback"})


@dataclass(frozen=True)
class Held:
    """An answer that is made again after each change, until it is ready or `seconds` are over."""

    seconds: float
    is_ready: Callable[[], bool]
    answer: Callable[[], httpx2.Response]


class RefusedError(Exception):
    """A request that is answered by a problem document."""

    def __init__(self, status: int, code: str, detail: str, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(status, code, detail)
        self.problem = Problem(
            title=HTTPStatus(status).phrase, status=status, detail=detail, code=code, errors=errors or []
        )

    def answer(self) -> httpx2.Response:
        """Return the problem document."""
        headers = {"content-type": PROBLEM_MEDIA_TYPE}
        return httpx2.Response(self.problem.status, content=self.problem.model_dump_json(), headers=headers)


def without_payloads(answer: httpx2.Response | Held) -> httpx2.Response | Held:
    """Return an answer as one gets it who may read tasks, but not what they were given and what became of it."""
    if isinstance(answer, Held):
        return replace(answer, answer=lambda: _stripped(answer.answer()))
    return _stripped(answer)


def _stripped(response: httpx2.Response) -> httpx2.Response:
    if response.headers.get("content-type") != "application/json":
        return response
    body = json.loads(response.content)
    for one in (body, *body.get("items", ())):
        for name in _PAYLOADS & one.keys():
            del one[name]
    return httpx2.Response(response.status_code, content=json.dumps(body), headers=_without_length(response))


def _without_length(response: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "content-length"}


def invalid(errors: list[FieldProblem]) -> RefusedError:
    """Return a 422 that names fields."""
    fields = ", ".join(error.field for error in errors)
    return RefusedError(422, ProblemCode.VALIDATION, f"wrong: {fields}", errors)


def shown(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    """Return a model as an answer."""
    every = {"content-type": "application/json", **(headers or {})}
    return httpx2.Response(status, content=model.model_dump_json(), headers=every)
