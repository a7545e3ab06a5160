"""The first schema: tasks, their attempts, workers, the types on offer, the queues, and create_task().

Revision ID: 0001f
Revises: nothing
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001f"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE tasks (
        id uuid NOT NULL,
        name text NOT NULL,
        description text,
        type text NOT NULL,
        queue text NOT NULL,
        labels jsonb DEFAULT '{}' NOT NULL,
        payload json DEFAULT '{}' NOT NULL,
        payload_bytes integer NOT NULL,
        priority text NOT NULL,
        status text NOT NULL,
        run_at timestamptz,
        due_at timestamptz NOT NULL,
        timeout_seconds double precision,
        max_attempts integer,
        attempt integer DEFAULT 0 NOT NULL,
        failures integer DEFAULT 0 NOT NULL,
        lost_count integer DEFAULT 0 NOT NULL,
        rerun_count integer DEFAULT 0 NOT NULL,
        lease_token uuid,
        worker_id uuid,
        dispatched_at timestamptz,
        cancel_requested_at timestamptz,
        progress jsonb,
        result json,
        result_bytes integer DEFAULT 0 NOT NULL,
        error jsonb,
        checkpoint json,
        checkpoint_bytes integer DEFAULT 0 NOT NULL,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        version integer DEFAULT 1 NOT NULL,
        scope text DEFAULT '' NOT NULL,
        idempotency_key text COLLATE "C",
        request_hash bytea,
        fingerprint text,
        traceparent text,
        CONSTRAINT pk_tasks PRIMARY KEY (id),
        CONSTRAINT ck_tasks_status CHECK (
            status IN ('NEW', 'PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED')
        ),
        CONSTRAINT ck_tasks_priority CHECK (priority IN ('LOW', 'MEDIUM', 'HIGH')),
        CONSTRAINT ck_tasks_counts CHECK (
            attempt >= 0 AND failures >= 0 AND lost_count >= 0 AND rerun_count >= 0
        ),
        CONSTRAINT ck_tasks_started_after_created CHECK (started_at >= created_at),
        CONSTRAINT ck_tasks_finished_last CHECK (
            finished_at >= created_at AND finished_at >= started_at
        ),
        CONSTRAINT ck_tasks_hash_of_key CHECK ((idempotency_key IS NULL) = (request_hash IS NULL)),
        CONSTRAINT ck_tasks_idempotency_key CHECK (octet_length(idempotency_key) BETWEEN 1 AND 260),
        CONSTRAINT ck_tasks_request_hash CHECK (octet_length(request_hash) = 32),
        CONSTRAINT ck_tasks_started_at_by_status CHECK (
            (started_at IS NULL OR NOT status IN ('NEW'))
            AND (started_at IS NOT NULL OR NOT status IN ('IN_PROGRESS', 'COMPLETED'))
        ),
        CONSTRAINT ck_tasks_worker_id_by_status CHECK (
            (worker_id IS NULL OR NOT status IN ('NEW'))
            AND (worker_id IS NOT NULL OR NOT status IN ('IN_PROGRESS', 'COMPLETED'))
        ),
        CONSTRAINT ck_tasks_lease_token_by_status CHECK (
            (lease_token IS NULL OR NOT status IN ('NEW'))
            AND (lease_token IS NOT NULL OR NOT status IN ('IN_PROGRESS', 'COMPLETED'))
        ),
        CONSTRAINT ck_tasks_finished_at_by_status CHECK (
            (finished_at IS NULL OR NOT status IN ('NEW', 'PENDING', 'IN_PROGRESS'))
            AND (finished_at IS NOT NULL OR NOT status IN ('COMPLETED', 'FAILED', 'CANCELLED'))
        ),
        CONSTRAINT ck_tasks_result_by_status CHECK (
            (result IS NULL OR NOT status IN ('NEW', 'PENDING', 'IN_PROGRESS', 'FAILED', 'CANCELLED'))
        ),
        CONSTRAINT ck_tasks_error_by_status CHECK (
            (error IS NULL OR NOT status IN ('NEW', 'COMPLETED'))
            AND (error IS NOT NULL OR NOT status IN ('FAILED'))
        ),
        CONSTRAINT ck_tasks_fingerprint_by_status CHECK (
            (fingerprint IS NULL OR NOT status IN ('NEW', 'PENDING', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED'))
        ),
        CONSTRAINT ck_tasks_cancel_requested_at_by_status CHECK (
            (cancel_requested_at IS NULL OR NOT status IN ('NEW', 'PENDING', 'FAILED'))
        ),
        CONSTRAINT ck_tasks_dispatched_at_by_status CHECK (
            (dispatched_at IS NULL OR NOT status IN ('NEW'))
        )
    )
    WITH (
        fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0.02,
        autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 1000,
        autovacuum_vacuum_cost_delay = 1
    )
    """,
    """
    CREATE INDEX ix_tasks_fingerprint ON tasks (fingerprint, id)
    WHERE fingerprint IS NOT NULL
    """,
    """
    CREATE INDEX ix_tasks_finished ON tasks (finished_at) WHERE finished_at IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX ix_tasks_idempotency_key ON tasks (scope, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    """,
    """
    CREATE INDEX ix_tasks_running ON tasks (worker_id) WHERE status = 'IN_PROGRESS'
    """,
    """
    CREATE INDEX ix_tasks_suspect ON tasks (due_at) WHERE status IN ('NEW', 'PENDING') AND lost_count >= 2
    """,
    """
    CREATE INDEX ix_tasks_undispatched ON tasks (queue, priority, type, due_at, id)
    WHERE status IN ('NEW', 'PENDING') AND dispatched_at IS NULL AND lost_count < 2
    """,
    """
    CREATE INDEX ix_tasks_unsuccessful ON tasks (id) WHERE status IN ('FAILED', 'CANCELLED')
    """,
    """
    CREATE INDEX ix_tasks_waiting ON tasks (queue, priority, type, due_at, id) WHERE status IN ('NEW', 'PENDING')
    """,
    """
    CREATE TABLE task_attempts (
        task_id uuid NOT NULL,
        attempt integer NOT NULL,
        worker_id uuid NOT NULL,
        host text,
        pid integer,
        started_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL,
        outcome text NOT NULL,
        error jsonb,
        traceback text,
        CONSTRAINT pk_task_attempts PRIMARY KEY (task_id, attempt),
        CONSTRAINT ck_task_attempts_outcome CHECK (
            outcome IN ('CONFIRM_CANCEL', 'RETRY', 'FAIL', 'RELEASE', 'CANCEL_LOST', 'RESCUE', 'ABANDON')
        ),
        CONSTRAINT fk_task_attempts_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE workers (
        id uuid NOT NULL,
        queues text[] NOT NULL,
        types text[] NOT NULL,
        schema_hashes text[] DEFAULT '{}' NOT NULL,
        host text DEFAULT '' NOT NULL,
        pid integer DEFAULT 0 NOT NULL,
        version text DEFAULT '' NOT NULL,
        slots integer DEFAULT 0 NOT NULL,
        in_flight integer DEFAULT 0 NOT NULL,
        lease_seconds double precision DEFAULT 30 NOT NULL,
        started_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        ticked_at timestamptz,
        steady_since timestamptz,
        reaches_broker boolean NOT NULL,
        draining_at timestamptz,
        dead_at timestamptz,
        CONSTRAINT pk_workers PRIMARY KEY (id)
    )
    WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200)
    """,
    """
    CREATE INDEX ix_workers_live ON workers (id) WHERE dead_at IS NULL
    """,
    """
    CREATE TABLE task_types (
        queue text NOT NULL,
        type text NOT NULL,
        schema_hash text DEFAULT '' NOT NULL,
        payload_schema jsonb,
        last_offered_at timestamptz NOT NULL,
        CONSTRAINT pk_task_types PRIMARY KEY (queue, type, schema_hash)
    )
    """,
    """
    CREATE TABLE queues (
        name text NOT NULL,
        default_type text,
        CONSTRAINT pk_queues PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE activity_minutes (
        minute timestamptz NOT NULL,
        queue text NOT NULL,
        priority text NOT NULL,
        type text NOT NULL,
        accepted integer DEFAULT 0 NOT NULL,
        started integer DEFAULT 0 NOT NULL,
        completed integer DEFAULT 0 NOT NULL,
        failed integer DEFAULT 0 NOT NULL,
        cancelled integer DEFAULT 0 NOT NULL,
        retried integer DEFAULT 0 NOT NULL,
        wait_ms_sum bigint DEFAULT 0 NOT NULL,
        run_ms_sum bigint DEFAULT 0 NOT NULL,
        CONSTRAINT pk_activity_minutes PRIMARY KEY (minute, queue, priority, type)
    )
    WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE queue_now (
        queue text NOT NULL,
        priority text NOT NULL,
        waiting integer NOT NULL,
        waiting_is_capped boolean NOT NULL,
        oldest_due_at timestamptz,
        running integer NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_queue_now PRIMARY KEY (queue, priority)
    )
    WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE failure_hours (
        hour timestamptz NOT NULL,
        fingerprint text NOT NULL,
        type text NOT NULL,
        exception text NOT NULL,
        frame text NOT NULL,
        message text NOT NULL,
        count integer NOT NULL,
        first_at timestamptz NOT NULL,
        last_at timestamptz NOT NULL,
        example_id uuid NOT NULL,
        CONSTRAINT pk_failure_hours PRIMARY KEY (hour, fingerprint)
    )
    WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE uncounted_tasks (
        task_id uuid NOT NULL,
        queue text NOT NULL,
        priority text NOT NULL,
        type text NOT NULL,
        CONSTRAINT pk_uncounted_tasks PRIMARY KEY (task_id)
    )
    """,
    Path(__file__).with_name("0001_create_task.sql").read_text(encoding="utf-8"),
    # Else everybody who can connect may call it, and it runs as its owner.
    "REVOKE ALL ON FUNCTION create_task(json) FROM PUBLIC",
)


def upgrade() -> None:
    """Create everything, in one transaction."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything, tasks included."""
    op.execute("DROP FUNCTION create_task(json)")
    for table in (
        "uncounted_tasks",
        "failure_hours",
        "queue_now",
        "activity_minutes",
        "queues",
        "task_types",
        "workers",
        "task_attempts",
        "tasks",
    ):
        op.drop_table(table)
