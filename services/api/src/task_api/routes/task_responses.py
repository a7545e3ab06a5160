"""What /openapi.json declares of each answer of the calls on tasks: its schema, an example, its headers."""

from __future__ import annotations

from task_api import examples
from task_api.openapi import Responses, answer, errors, header
from task_api.problems import not_json, unavailable
from task_contracts import (
    Attempt,
    BulkResult,
    CreatedTasks,
    ErrorGroup,
    ItemList,
    Task,
    TaskPage,
    TaskState,
    TaskSummary,
)

_LOCATION = header("The path of the task.", examples=[f"/api/v1/tasks/{examples.NEW['id']}"])
_REPLAYED = header(
    "There if the request repeats an earlier one: what is answered was created by that.",
    is_optional=True,
    enum=["true"],
)
_ETAG = header("Stands for this version of the task.", examples=[examples.ETAG])
_APPLIED = {
    "Preference-Applied": header("How long the call was ready to wait.", is_optional=True, examples=["wait=30"]),
}
_READING: Responses = {
    304: {"description": "The caller has this version", "headers": {"ETag": _ETAG, **_APPLIED}},
    **errors(examples.UNKNOWN_TASK, examples.WRONG_ID, unavailable()),
}

CREATE_TASK: Responses = {
    201: answer(
        Task,
        "Stored: from now on it is not lost",
        examples.NEW,
        **{"Location": _LOCATION, "Idempotency-Replayed": _REPLAYED},
        **_APPLIED,
    ),
    **errors(
        examples.TOO_SLOW,
        examples.TOO_LARGE,
        not_json(),
        examples.WRONG_BODY,
        examples.UNKNOWN_QUEUE,
        examples.KEY_OF_ANOTHER,
        unavailable(),
    ),
}
CREATE_TASKS: Responses = {
    201: answer(
        CreatedTasks,
        "All of them are stored: from now on none is lost",
        examples.CREATED,
        **{"Idempotency-Replayed": _REPLAYED},
    ),
    **errors(
        examples.TOO_SLOW,
        examples.PARTLY_PURGED,
        examples.TOO_LARGE_BATCH,
        not_json(),
        examples.WRONG_BATCH,
        examples.UNKNOWN_QUEUE_IN_BATCH,
        examples.KEY_OF_ANOTHER,
        unavailable(),
    ),
}
LIST_TASKS: Responses = {
    200: answer(TaskPage[TaskSummary] | TaskPage[Task], "One page", examples.PAGE),
    **errors(examples.WRONG_QUERY, unavailable()),
}
GET_TASK: Responses = {200: answer(Task, "The task", examples.COMPLETED, ETag=_ETAG, **_APPLIED), **_READING}
GET_TASK_STATUS: Responses = {200: answer(TaskState, "The status", examples.STATE, ETag=_ETAG, **_APPLIED), **_READING}
CANCEL_TASK: Responses = {
    200: answer(Task, "It is CANCELLED", examples.CANCELLED),
    202: answer(Task, "It runs, and was asked to stop", examples.STOPPING),
    **errors(examples.UNKNOWN_TASK, examples.FINISHED, examples.WRONG_ID, unavailable()),
}
_BODY = errors(examples.TOO_SLOW, examples.TOO_LARGE, not_json())
UPDATE_TASK: Responses = {
    200: answer(Task, "The task as it is now", examples.URGENT, ETag=_ETAG),
    **errors(examples.UNKNOWN_TASK, examples.NOT_WAITING, examples.ANOTHER_VERSION),
    **_BODY,
    **errors(examples.WRONG_UPDATE, unavailable()),
}
RERUN_TASK: Responses = {
    200: answer(Task, "It waits for its next run", examples.RERUN, ETag=_ETAG),
    **errors(examples.UNKNOWN_TASK, examples.NOT_RERUNNABLE, examples.WRONG_ID, unavailable()),
}
LIST_ATTEMPTS: Responses = {
    200: answer(ItemList[Attempt], "The attempts, in their order", examples.ATTEMPTS),
    **errors(examples.UNKNOWN_TASK, examples.WRONG_ID, unavailable()),
}
LIST_ERRORS: Responses = {
    200: answer(ItemList[ErrorGroup], "The kinds of failures, most first", examples.ERROR_GROUPS),
    **errors(examples.UNWANTED_QUERY, unavailable()),
}
CANCEL_TASKS: Responses = {
    200: answer(BulkResult, "What was changed", examples.CANCELLED_MANY),
    **_BODY,
    **errors(examples.WRONG_FILTER, unavailable()),
}
RERUN_TASKS: Responses = {
    200: answer(BulkResult, "What was changed", examples.RERUN_MANY),
    **_BODY,
    **errors(examples.WRONG_FILTER, unavailable()),
}
