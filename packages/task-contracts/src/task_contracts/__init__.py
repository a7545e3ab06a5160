"""What every part of the task service agrees on.

The life cycle (`task_contracts.lifecycle`), the schemas of requests and answers, the check of JSON, limits, problem
documents, and the messages on the broker. Depends on pydantic alone and does no I/O.
"""

from task_contracts import _limits as limits
from task_contracts._back_off import BackOff
from task_contracts._bulk_result import BulkResult
from task_contracts._enums import ErrorCode, Priority, SortOrder, TaskStatus, View
from task_contracts._failure_kind import OTHER_FAILURE, FailureKind
from task_contracts._health import Health, HealthCheck, HealthStatus
from task_contracts._insight import (
    OTHER_TYPE,
    Activity,
    Attempt,
    Demand,
    ErrorGroup,
    Explanation,
    ItemList,
    PriorityState,
    QueueState,
    Reason,
    Stats,
    TypeInfo,
    Version,
    WorkerInfo,
)
from task_contracts._json import (
    JsonObject,
    JsonValue,
    UnstorableJsonError,
    check_json,
    check_text,
    storable_text,
)
from task_contracts._messages import DueTasks, Signal, SignalKind
from task_contracts._printable import printable_text
from task_contracts._problems import PROBLEM_MEDIA_TYPE, FieldProblem, Problem, ProblemCode
from task_contracts._retry_after import retry_after_seconds
from task_contracts._schemas import (
    CreatedTasks,
    IdempotencyKey,
    LabelKey,
    Labels,
    LabelValue,
    MaxAttempts,
    Name,
    Payload,
    Progress,
    QueueName,
    RunAt,
    StorableJson,
    Task,
    TaskBatch,
    TaskCreate,
    TaskError,
    TaskPage,
    TaskState,
    TaskSummary,
    Text,
    TimeoutSeconds,
    TypeName,
)
from task_contracts._task_update import TaskUpdate

__all__ = [
    "OTHER_FAILURE",
    "OTHER_TYPE",
    "PROBLEM_MEDIA_TYPE",
    "Activity",
    "Attempt",
    "BackOff",
    "BulkResult",
    "CreatedTasks",
    "Demand",
    "DueTasks",
    "ErrorCode",
    "ErrorGroup",
    "Explanation",
    "FailureKind",
    "FieldProblem",
    "Health",
    "HealthCheck",
    "HealthStatus",
    "IdempotencyKey",
    "ItemList",
    "JsonObject",
    "JsonValue",
    "LabelKey",
    "LabelValue",
    "Labels",
    "MaxAttempts",
    "Name",
    "Payload",
    "Priority",
    "PriorityState",
    "Problem",
    "ProblemCode",
    "Progress",
    "QueueName",
    "QueueState",
    "Reason",
    "RunAt",
    "Signal",
    "SignalKind",
    "SortOrder",
    "Stats",
    "StorableJson",
    "Task",
    "TaskBatch",
    "TaskCreate",
    "TaskError",
    "TaskPage",
    "TaskState",
    "TaskStatus",
    "TaskSummary",
    "TaskUpdate",
    "Text",
    "TimeoutSeconds",
    "TypeInfo",
    "TypeName",
    "UnstorableJsonError",
    "Version",
    "View",
    "WorkerInfo",
    "check_json",
    "check_text",
    "limits",
    "printable_text",
    "retry_after_seconds",
    "storable_text",
]
