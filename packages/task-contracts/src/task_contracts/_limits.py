"""Every limit that a caller can meet, in one place. Sizes are in bytes or characters, times in seconds."""

from __future__ import annotations

BODY_BYTES = 1 << 20
BATCH_BODY_BYTES = 4 << 20
"""The body of POST /tasks/batch. Each of its tasks may have `BODY_BYTES`, as a body of its own."""
RESULT_BYTES = 1 << 20
CHECKPOINT_BYTES = 64 << 10
PAGE_BYTES = 4 << 20
TRACEBACK_BYTES = 16 << 10

NAME_CHARS = 200
DESCRIPTION_CHARS = 10_000
TYPE_CHARS = 100
QUEUE_CHARS = 60
ERROR_MESSAGE_CHARS = 2_000
PROGRESS_MESSAGE_CHARS = 500
FAILURE_PART_CHARS = 200
"""The class of an exception, and the place of a failure."""
FAILURE_MESSAGE_CHARS = 500

LABELS_MAX = 16
LABEL_KEY_CHARS = 63
LABEL_VALUE_CHARS = 200

JSON_DEPTH = 64
JSON_NODES = 20_000
JSON_KEY_CHARS = 256
INTEGER_BOUND = 1 << 63

BATCH_TASKS_MAX = 1_000
BATCH_JSON_NODES = 100_000
"""JSON values in the body of POST /tasks/batch, containers and scalars alike."""

IDEMPOTENCY_KEY_CHARS = 255
IDEMPOTENCY_KEY_HOURS = 24
"""So long after its creation a task with a key is not purged, however early it ended."""

RUN_AT_HORIZON_DAYS = 365
TIMEOUT_SECONDS_MAX = 7 * 24 * 3600
TIMEOUT_SECONDS_MIN = 0.001
ATTEMPTS_MAX = 25

FIELD_ERRORS_MAX = 1_000
"""Errors of a body or a payload that are looked at; of more, only their count is said: each costs time to describe."""

FILTER_IDS_MAX = 1_000
"""Ids that a filter names at most."""
WAIT_SECONDS_MAX = 60
"""How long a call may wait for a task to end (`Prefer: wait=N`)."""

PAGE_ITEMS_MAX = 200
PAGE_ITEMS_DEFAULT = 50
TOTAL_MAX = 10_000
EXAMINED_ROWS_MAX = 50_000
"""Rows that one page reads at most, for a filter that no index serves."""
AHEAD_MAX = 1_000
"""Tasks before a waiting one that are counted at most, to explain it."""
BULK_ITEMS_MAX = 1_000
"""Tasks that one call cancels or reruns at most."""

FINISHED_IDS_MAX = 10_000
"""Tasks that ended within a filter's time and are looked up by their ids."""

MESSAGE_IDS_MAX = 200

ID_PREFIX_DIGITS_MIN = 8
FINGERPRINTS_AN_HOUR = 1_000
"""Kinds of failures that are counted apart in an hour; what is beyond counts as `other`."""
COUNT_DAYS = 14
"""Days that the counts of failures and of activity are kept."""
ERROR_GROUPS_MAX = 200
ATTEMPTS_SHOWN_MAX = 1_000
"""Attempts of a task in one answer, the latest. Their errors and tracebacks are together at most `PAGE_BYTES`."""

LOSSES_MAX = 3
"""Workers that a task may lose before it FAILs as `worker_lost`."""
UNKNOWN_TYPE_DAYS = 7
"""Days that a task waits for a worker of its type, after one last offered that type."""

API_KEYS_MAX = 1_000
"""Keys that are neither revoked nor expired."""
PAUSES_MAX = 100
"""Pauses that stand at once: each statement that claims tests them all."""
PAUSE_REASON_CHARS = 500
