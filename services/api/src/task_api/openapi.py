"""Adds to /openapi.json what FastAPI does not read off the routes: the title, and all errors of each operation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from task_api.problems import OF_EVERY_CALL, ProblemError
from task_api.settings import ApiSettings
from task_contracts import PROBLEM_MEDIA_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]

TITLE = "Task service"
VERSION = version("task-api")
DESCRIPTION = """\
Accepts tasks, keeps them in PostgreSQL, and has workers run them by priority.

Every error is a problem document (RFC 9457, `application/problem+json`); its `code` names the kind of error. A 503
says in `Retry-After` when to try again. Where `Host` is a name with a dot that this server does not have, the answer is
421, and without exactly one host 400. Every answer carries an `X-Request-ID`: the caller's own, if one was sent.
"""
TAGS = [
    {"name": "tasks", "description": "Create, read, list, change, cancel and rerun tasks."},
    {"name": "events", "description": "Streams of changes, as server-sent events (`text/event-stream`)."},
    {"name": "insight", "description": "What waits, runs and has happened, why, and who works."},
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
            _add_problems_of_every_call(document)
            _fit(document["components"]["schemas"]["TaskCreate"], self._settings)
            self.openapi_schema = document
        return self.openapi_schema


def _declaration(problem: Problem, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model": Problem,
        "description": problem.title,
        "content": {PROBLEM_MEDIA_TYPE: {"examples": {}}},
        "headers": {
            name: header("Seconds to wait.", type="integer", examples=[int(headers[name])]) for name in headers
        },
    }


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
                declared = _declaration(problem, {})
                content = declared["content"][PROBLEM_MEDIA_TYPE]
                content["schema"] = {"$ref": f"#/components/schemas/{declared.pop('model').__name__}"}
                content["examples"][problem.code] = {"value": problem.model_dump(mode="json")}
                operation["responses"].setdefault(str(problem.status), declared)


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
