"""Stores tasks in PostgreSQL. Only this package and the migrations use SQL.

`Database` is a pool of connections. `Tasks` and `Queues` serve the API, `Changes` those who watch tasks, `Attempts` a
worker, `Dispatches` the leader, `Workers` every worker, the leader, and the API where it asks who is there,
`LiveWorkers` and `Situations` those who ask what happens and why, `Pauses` operators and the leader, `ApiKeys`,
`CachedKeys` and `Audit` whoever decides who may do what. Every statement is a transaction of its own, with a deadline.
Every error is a `StoreError`.
"""

from task_store._classify import FOREIGN_ERRORS, classify
from task_store._connecting import open_engine
from task_store._models import Base
from task_store.activity import Activities, ActivityCounts, ActivityWriter, Capacity, QueueCounts, QueueNow
from task_store.api_keys import ApiKeys, FoundKey, Refusal, Revocation, key_hash
from task_store.attempts import Attempts
from task_store.audit import Audit
from task_store.batch_limit import BATCH_BYTES, BatchLimit
from task_store.cached_keys import CACHE_SECONDS, CachedKeys, Caller, PresentedKey, open_scopes
from task_store.changes import (
    FIRST_ID,
    GONE_VERSION,
    UNKNOWN_VERSION,
    ChangedTasks,
    Changes,
    FinishedTask,
    PresentTasks,
    WatchedTask,
)
from task_store.claims import Claims, new_lease_token
from task_store.database import Database, OnChanged, OnHappened
from task_store.dispatches import Dispatches
from task_store.errors import (
    ContentionError,
    DatabaseUnavailableError,
    KeyExpiredError,
    KeyMismatchError,
    NotExecutedError,
    PauseOverError,
    PauseRefusedError,
    PausesNotKnownError,
    SchemaMismatchError,
    StatementEndedError,
    StoreError,
    UnmigratableSchemaError,
    UnstorableValuesError,
    UnusableDatabaseError,
)
from task_store.facts import DatabaseFacts
from task_store.failures import CountedFailure, Failures
from task_store.live_workers import LiveWorkers, TypeVersion
from task_store.pauses import OverPause, Pauses
from task_store.queues import Queues
from task_store.records import (
    NOBODY,
    AttemptKey,
    AuditContext,
    Changed,
    ChangedMany,
    Claim,
    Claimed,
    CountedMany,
    Created,
    CreatedBatch,
    DispatchQuota,
    Ended,
    Ending,
    HeldRow,
    Lane,
    LiveOffers,
    LostWorker,
    MarkedTask,
    NewTask,
    Offer,
    OldTask,
    Page,
    RequestKey,
    TaskFilter,
    Total,
    WorkerProcess,
)
from task_store.scan_pace import ScanPace
from task_store.schema import REVISIONS, SCHEMA_REVISION, why_no_migration
from task_store.situations import Situation, Situations, Wait
from task_store.stored_json import UnreadableJsonError
from task_store.tasks import Tasks
from task_store.workers import Workers, new_worker_id

__all__ = [
    "BATCH_BYTES",
    "CACHE_SECONDS",
    "FIRST_ID",
    "FOREIGN_ERRORS",
    "GONE_VERSION",
    "NOBODY",
    "REVISIONS",
    "SCHEMA_REVISION",
    "UNKNOWN_VERSION",
    "Activities",
    "ActivityCounts",
    "ActivityWriter",
    "ApiKeys",
    "AttemptKey",
    "Attempts",
    "Audit",
    "AuditContext",
    "Base",
    "BatchLimit",
    "CachedKeys",
    "Caller",
    "Capacity",
    "Changed",
    "ChangedMany",
    "ChangedTasks",
    "Changes",
    "Claim",
    "Claimed",
    "Claims",
    "ContentionError",
    "CountedFailure",
    "CountedMany",
    "Created",
    "CreatedBatch",
    "Database",
    "DatabaseFacts",
    "DatabaseUnavailableError",
    "DispatchQuota",
    "Dispatches",
    "Ended",
    "Ending",
    "Failures",
    "FinishedTask",
    "FoundKey",
    "HeldRow",
    "KeyExpiredError",
    "KeyMismatchError",
    "Lane",
    "LiveOffers",
    "LiveWorkers",
    "LostWorker",
    "MarkedTask",
    "NewTask",
    "NotExecutedError",
    "Offer",
    "OldTask",
    "OnChanged",
    "OnHappened",
    "OverPause",
    "Page",
    "PauseOverError",
    "PauseRefusedError",
    "Pauses",
    "PausesNotKnownError",
    "PresentTasks",
    "PresentedKey",
    "QueueCounts",
    "QueueNow",
    "Queues",
    "Refusal",
    "RequestKey",
    "Revocation",
    "ScanPace",
    "SchemaMismatchError",
    "Situation",
    "Situations",
    "StatementEndedError",
    "StoreError",
    "TaskFilter",
    "Tasks",
    "Total",
    "TypeVersion",
    "UnmigratableSchemaError",
    "UnreadableJsonError",
    "UnstorableValuesError",
    "UnusableDatabaseError",
    "Wait",
    "WatchedTask",
    "WorkerProcess",
    "Workers",
    "classify",
    "key_hash",
    "new_lease_token",
    "new_worker_id",
    "open_engine",
    "open_scopes",
    "why_no_migration",
]
