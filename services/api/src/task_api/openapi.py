"""Adds to /openapi.json what FastAPI does not read off the routes: the title, and all errors of each operation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from task_api.access.guard import SCOPES, SECURITY_SCHEME
from task_api.problems import (
    OF_EVERY_CALL,
    ProblemError,
    forbidden,
    too_many_failed_attempts,
    unauthenticated,
    unavailable,
)
from task_api.settings import ApiSettings
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, Scope

Responses = dict[int | str, dict[str, Any]]

TITLE = "Task service"
VERSION = version("task-api")
DESCRIPTION = """\
Accepts tasks, keeps them in PostgreSQL, and has workers run them by priority.

Every error is a problem document (RFC 9457, `application/problem+json`); its `code` names the kind of error. A 503
says in `Retry-After` when to try again. Where `Host` is a name with a dot that this server does not have, the answer is
421, and without exactly one host 400. Every answer carries an `X-Request-ID`: the caller's own, if one was sent.

Where the server needs keys, a call has one as `Authorization: Bearer`; without a valid one it is 401, and 403 where the
key lacks the scope that the call names. Without the scope `tasks:payload` the fields `payload`, `result` and
`traceback` are left out of every answer.
"""
TAGS = [
    {"name": "tasks", "description": "Create, read, list, change, cancel and rerun tasks."},
    {"name": "events", "description": "Streams of changes, as server-sent events (`text/event-stream`)."},
    {"name": "insight", "description": "What waits, runs and has happened, why, and who works."},
    {"name": "access", "description": "Keys, what they may do, and what operators did."},
    {"name": "operate", "description": "Pause one kind of tasks, and let it go on."},
    {"name": "health", "description": "For orchestrators and load balancers."},
]


def answer(model: Any, description: str, example: Any, **headers: dict[str, Any]) -> dict[str, Any]:
    """Return the declaration of a successful answer, for a route's `responses`."""
    content = {"application/json": {"example": example}}
    return {"model": model, "description": description, "content": content, "headers": headers}


def errors(*examples: ProblemError) -> Responses:
    """Return the declarations of these errors by status, each error as an example under its code."""
    declared: Responses = {}
    for error in examples:
        problem = error.problem
        response = declared.setdefault(problem.status, _declaration(problem, error.headers or {}))
        content = response["content"][PROBLEM_MEDIA_TYPE]
        content["examples"][problem.code] = {"value": problem.model_dump(mode="json")}
    return declared


def header(description: str, *, is_optional: bool = False, **schema: Any) -> dict[str, Any]:
    """Return the declaration of a header, which the answer always has unless it is optional."""
    return {"description": description, "required": not is_optional, "schema": {"type": "string", **schema}}


class DocumentedApi(FastAPI):
    """FastAPI with a corrected document.

    Problem documents stand under their own media type. The schema of a new task names the queues of the settings, and
    requires a type where they name no default.
    """

    def __init__(self, settings: ApiSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if not self.openapi_schema:
            document = super().openapi()
            _move_problems(document)
            _add_security(document, is_open=not self._settings.has_keys)
            _add_problems_of_every_call(document)
            _make_payloads_optional(document["components"]["schemas"])
            _fit(document["components"]["schemas"]["TaskCreate"], self._settings)
            self.openapi_schema = document
        return self.openapi_schema


_UNSHOWN = {"Task": ("payload", "result"), "Attempt": ("traceback",)}
"""What a caller without `tasks:payload` does not get, by schema."""


def _make_payloads_optional(schemas: dict[str, Any]) -> None:
    for name, fields in _UNSHOWN.items():
        schema = schemas[name]
        schema["required"] = [field for field in schema.get("required", ()) if field not in fields]
        for field in fields:
            about = schema["properties"][field]
            said = about.get("description", "")
            about["description"] = f"{said} Only with the scope `{Scope.TASKS_PAYLOAD}`.".lstrip()


def _add_security(document: dict[str, Any], *, is_open: bool) -> None:
    """Say which scope each call needs, and how it answers a caller without.

    Where nobody needs a key, one may still be sent: a client that is made from the document then works everywhere.
    """
    document["components"]["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key: `ts_...`. What each call names beside it is a scope that the key must have.",
        }
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            scopes = SCOPES[operation["operationId"]]
            if scopes:
                operation["security"] = [{SECURITY_SCHEME: [str(scope)]} for scope in scopes] + [{}] * is_open
                operation["description"] += f"\n\nScope: {' or '.join(f'`{scope}`' for scope in scopes)}."
                for problem in (unauthenticated(), forbidden(*scopes), too_many_failed_attempts(60), unavailable()):
                    _add_problem(operation, problem)


def _add_problem(operation: dict[str, Any], error: ProblemError) -> None:
    """Add a problem to the answers of an operation, beside others of its status."""
    problem = error.problem
    declared = _declaration(problem, error.headers or {})
    schema = {"$ref": f"#/components/schemas/{declared.pop('model').__name__}"}
    content = operation["responses"].setdefault(str(problem.status), declared)["content"][PROBLEM_MEDIA_TYPE]
    content["schema"] = schema
    content["examples"].setdefault(problem.code, {"value": problem.model_dump(mode="json")})


def _declaration(problem: Problem, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model": Problem,
        "description": problem.title,
        "content": {PROBLEM_MEDIA_TYPE: {"examples": {}}},
        "headers": {name: _problem_header(name, value) for name, value in headers.items()},
    }


def _problem_header(name: str, value: str) -> dict[str, Any]:
    if name == "Retry-After":
        return header("Seconds to wait.", type="integer", examples=[int(value)])
    return header("How a key is sent.", examples=[value])


def _move_problems(document: dict[str, Any]) -> None:
    # FastAPI puts the schema of a declared `model` under the media type of the route's successes.
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {})
                if PROBLEM_MEDIA_TYPE in content:
                    (successes,) = content.keys() - {PROBLEM_MEDIA_TYPE}
                    content[PROBLEM_MEDIA_TYPE]["schema"] = content.pop(successes)["schema"]


def _add_problems_of_every_call(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for problem in OF_EVERY_CALL:
                _add_problem(operation, ProblemError(problem))


def _fit(create: dict[str, Any], settings: ApiSettings) -> None:
    """Change the schema of a new task: it names the existing queues, and requires a type where there is no default."""
    queues, is_type_required = list(settings.queues), settings.default_type is None
    create["properties"]["queue"]["enum"] = queues
    if is_type_required:
        create["required"] = [*create["required"], "type"]
        about = create["properties"]["type"]
        about |= next(way for way in about.pop("anyOf") if way["type"] != "null")
        about["description"] = "The name of the handler that runs the task."
    create["examples"] = [
        example
        for example in create["examples"]
        if example.get("queue", "default") in queues and not (is_type_required and "type" not in example)
    ]
