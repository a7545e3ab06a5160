from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from task_api import examples
from task_api.access.guard import SCOPES, guard_calls
from task_api.parts import ApiParts
from task_contracts import (
    ApiKey,
    Attempt,
    AuditPage,
    BulkResult,
    CreatedApiKey,
    CreatedTasks,
    ErrorGroup,
    ItemList,
    Problem,
    Task,
    TaskPage,
    TaskState,
    TaskSummary,
)

OF_EVERY_CALL = {"400", "421", "500"}
OF_A_GUARDED_CALL = {"401", "403", "429", "503"}
ERRORS = {
    "create_task": {"408", "413", "415", "422", "503"},
    "create_tasks": {"408", "409", "413", "415", "422", "503"},
    "list_tasks": {"422", "503"},
    "get_task": {"404", "422", "503"},
    "get_task_status": {"404", "422", "503"},
    "cancel_task": {"404", "409", "422", "503"},
    "update_task": {"404", "408", "409", "412", "413", "415", "422", "503"},
    "rerun_task": {"404", "409", "422", "503"},
    "list_attempts": {"404", "422", "503"},
    "list_errors": {"422", "503"},
    "cancel_tasks": {"408", "413", "415", "422", "503"},
    "rerun_tasks": {"408", "413", "415", "422", "503"},
    "stream_task_events": {"404", "422", "503"},
    "stream_events": {"422", "503"},
    "post_events": {"408", "413", "415", "422", "503"},
    "get_stats": {"503"},
    "list_queues": {"503"},
    "get_demand": {"404", "422", "503"},
    "explain_task": {"404", "422", "503"},
    "list_workers": {"503"},
    "list_types": {"503"},
    "get_version": set(),
    "create_key": {"408", "413", "415", "422"},
    "list_keys": {"422"},
    "revoke_key": {"404", "409", "422"},
    "list_audit": {"422"},
    "create_pause": {"408", "409", "413", "415", "422"},
    "list_pauses": {"422"},
    "end_pause": {"404", "409", "422"},
    "get_liveness": set(),
    "get_readiness": set(),
}
SUCCESSES = {
    "create_task": {"201"},
    "create_tasks": {"201"},
    "list_tasks": {"200"},
    "get_task": {"200", "304"},
    "get_task_status": {"200", "304"},
    "cancel_task": {"200", "202"},
    "update_task": {"200"},
    "rerun_task": {"200"},
    "list_attempts": {"200"},
    "list_errors": {"200"},
    "cancel_tasks": {"200"},
    "rerun_tasks": {"200"},
    "stream_task_events": {"200", "204"},
    "stream_events": {"200"},
    "post_events": {"200"},
    "get_stats": {"200"},
    "list_queues": {"200"},
    "get_demand": {"200"},
    "explain_task": {"200"},
    "list_workers": {"200"},
    "list_types": {"200"},
    "get_version": {"200"},
    "create_key": {"201"},
    "list_keys": {"200"},
    "revoke_key": {"204"},
    "list_audit": {"200"},
    "create_pause": {"201"},
    "list_pauses": {"200"},
    "end_pause": {"200"},
    "get_liveness": {"200"},
    "get_readiness": {"200", "503"},
}


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


@pytest.fixture
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    every = [operation for path in document["paths"].values() for operation in path.values()]
    return {operation["operationId"]: operation for operation in every}


def test_head_is_not_documented_beside_get(document: dict[str, Any]) -> None:
    assert {method for path in document["paths"].values() for method in path} == {"get", "post", "patch", "delete"}


def test_the_document_says_who_we_are(document: dict[str, Any]) -> None:
    assert document["info"]["version"] == version("task-api")
    assert document["info"]["description"]
    assert "servers" not in document
    assert {tag["name"] for tag in document["tags"]} == {"tasks", "events", "insight", "access", "operate", "health"}


def test_every_operation_has_a_name_of_its_own_a_tag_and_a_text(operations: dict[str, Any]) -> None:
    assert set(operations) == set(ERRORS)
    assert all(operation["tags"] and operation["description"] for operation in operations.values())


@pytest.mark.parametrize("name", ERRORS)
def test_every_answer_is_declared_and_errors_are_problem_documents(operations: dict[str, Any], name: str) -> None:
    responses = operations[name]["responses"]

    errors = ERRORS[name] | OF_EVERY_CALL | (OF_A_GUARDED_CALL if SCOPES[name] else set())
    assert set(responses) == errors | SUCCESSES[name]
    for status in errors:
        (media_type,) = responses[status]["content"]
        assert media_type == "application/problem+json"
        content = responses[status]["content"][media_type]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        for example in content["examples"].values():
            assert Problem.model_validate(example["value"]).status == int(status)
        assert ("Retry-After" in responses[status].get("headers", {})) == (status in {"429", "503"})
        assert ("WWW-Authenticate" in responses[status].get("headers", {})) == (status == "401")


def test_headers_that_callers_rely_on_are_declared(operations: dict[str, Any]) -> None:
    assert "Location" in operations["create_task"]["responses"]["201"]["headers"]
    for name in ("get_task", "get_task_status", "update_task", "rerun_task"):
        assert "ETag" in operations[name]["responses"]["200"]["headers"]


@pytest.mark.parametrize("name", ["create_task", "create_tasks"])
def test_a_key_may_be_sent_and_a_repeat_says_so(operations: dict[str, Any], name: str) -> None:
    key, *_ = operations[name]["parameters"]
    replayed = operations[name]["responses"]["201"]["headers"]["Idempotency-Replayed"]

    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)
    assert replayed["required"] is False
    codes = operations[name]["responses"]["422"]["content"]["application/problem+json"]["examples"]
    assert codes.keys() == {"validation_error", "unknown_queue", "idempotency_mismatch"}


def test_a_batch_is_of_the_tasks_that_one_call_takes(document: dict[str, Any], operations: dict[str, Any]) -> None:
    schema = operations["create_tasks"]["requestBody"]["content"]["application/json"]["schema"]
    tasks = document["components"]["schemas"]["TaskBatch"]["properties"]["tasks"]

    assert schema["$ref"] == "#/components/schemas/TaskBatch"
    assert operations["create_tasks"]["requestBody"]["required"]
    assert tasks["items"] == {"$ref": "#/components/schemas/TaskCreate"}
    assert (tasks["minItems"], tasks["maxItems"]) == (1, 1000)


@pytest.mark.parametrize("name", ["stream_task_events", "stream_events", "post_events"])
def test_a_stream_is_declared_as_events_that_can_be_resumed(operations: dict[str, Any], name: str) -> None:
    answer = operations[name]["responses"]["200"]

    assert set(answer["content"]) == {"text/event-stream"}
    assert set(answer["headers"]) == {"Cache-Control", "X-Accel-Buffering"}
    assert "Last-Event-ID" in {parameter["name"] for parameter in operations[name]["parameters"]}


@pytest.mark.parametrize("name", ["create_task", "get_task", "get_task_status"])
def test_a_call_that_waits_declares_what_is_asked_and_what_is_heeded(operations: dict[str, Any], name: str) -> None:
    for status in SUCCESSES[name]:
        assert not operations[name]["responses"][status]["headers"]["Preference-Applied"]["required"]
    assert "prefer" in {parameter["name"] for parameter in operations[name]["parameters"]}


def test_a_page_is_of_summaries_or_of_whole_tasks(operations: dict[str, Any]) -> None:
    schema = operations["list_tasks"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert [one["$ref"].rsplit("/")[-1] for one in schema["anyOf"]] == ["TaskPage_TaskSummary_", "TaskPage_Task_"]


def test_the_body_names_the_queues_that_there_are_and_shows_no_example_for_another(document: dict[str, Any]) -> None:
    create = document["components"]["schemas"]["TaskCreate"]

    assert create["properties"]["queue"]["enum"] == ["default", "reports"]
    assert [example.get("queue") for example in create["examples"]] == [None, "reports"]


async def test_where_there_is_no_default_the_body_asks_for_a_type(parts: ApiParts, open_client: Any) -> None:
    typeless = parts.settings.model_copy(update={"default_type": None})
    async with open_client(replace(parts, settings=typeless)) as client:
        document = (await client.get("/openapi.json")).json()

    create = document["components"]["schemas"]["TaskCreate"]
    assert create["required"] == ["name", "type"]
    assert create["properties"]["type"]["type"] == "string"
    assert "anyOf" not in create["properties"]["type"]
    assert all("type" in example for example in create["examples"])


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (Task, examples.NEW),
        (Task, examples.STOPPING),
        (Task, examples.COMPLETED),
        (Task, examples.CANCELLED),
        (Task, examples.URGENT),
        (Task, examples.RERUN),
        (BulkResult, examples.CANCELLED_MANY),
        (BulkResult, examples.RERUN_MANY),
        (TaskState, examples.STATE),
        (TaskPage[TaskSummary], examples.PAGE),
        (CreatedTasks, examples.CREATED),
        (ItemList[Attempt], examples.ATTEMPTS),
        (ItemList[ErrorGroup], examples.ERROR_GROUPS),
        (ApiKey, examples.KEY),
        (CreatedApiKey, examples.CREATED_KEY),
        (AuditPage, examples.AUDIT),
    ],
)
def test_an_example_is_what_the_api_would_answer(model: Any, example: dict[str, Any]) -> None:
    adapter = TypeAdapter(model)

    assert adapter.dump_python(adapter.validate_python(example), mode="json").keys() == example.keys()


def test_every_operation_says_which_scope_it_needs_or_that_it_needs_none(operations: dict[str, Any]) -> None:
    assert operations.keys() == SCOPES.keys()
    for name, operation in operations.items():
        declared = [alternative["key"][0] for alternative in operation.get("security", []) if alternative]
        assert declared == list(SCOPES[name])
        assert all(f"`{scope}`" in operation["description"] for scope in declared)


async def test_where_keys_are_needed_the_document_says_that_none_is_no_alternative(
    parts: ApiParts, open_client: Any, operations: dict[str, Any]
) -> None:
    guarded = parts.settings.model_copy(update={"auth": "keys"})
    async with open_client(replace(parts, settings=guarded)) as client:
        document = (await client.get("/openapi.json")).json()

    assert {} in operations["create_task"]["security"]
    assert document["paths"]["/api/v1/tasks"]["post"]["security"] == [{"key": ["tasks:write"]}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_what_a_key_may_not_see_is_optional_in_the_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert {"payload", "result"}.isdisjoint(schemas["Task"]["required"])
    assert "traceback" not in schemas["Attempt"]["required"]
    assert "tasks:payload" in schemas["Task"]["properties"]["payload"]["description"]


def test_a_call_that_the_table_of_scopes_does_not_name_is_an_error(parts: ApiParts) -> None:
    app = FastAPI()
    app.add_api_route("/open", lambda: None, operation_id="left_open")

    with pytest.raises(LookupError, match="SCOPES does not name left_open"):
        guard_calls(app, parts.access)
