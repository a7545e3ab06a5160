"""The names in spans, by OpenTelemetry's conventions of messaging: in development still, so they stand here alone."""

from __future__ import annotations

SCOPE = "task-service"

SYSTEM = "messaging.system"
SYSTEM_NAME = "task_service"
DESTINATION = "messaging.destination.name"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
BATCH_COUNT = "messaging.batch.message_count"
MESSAGE_ID = "messaging.message.id"
ERROR_TYPE = "error.type"
TASK_TYPE = "task_service.task.type"
ATTEMPT = "task_service.task.attempt"

SEND = "send"
PROCESS = "process"


def send_span(queues: frozenset[str]) -> str:
    """Return the name of the span in which tasks are stored: of a queue, where they are all of one."""
    return f"{SEND} {next(iter(queues))}" if len(queues) == 1 else SEND


def process_span(type_: str) -> str:
    """Return the name of the span of an attempt."""
    return f"{PROCESS} {type_}"
