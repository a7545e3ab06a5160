"""Rows put into the table by SQL, complete as the service writes them: in seconds what would take it hours."""

from __future__ import annotations

from datetime import timedelta

from benchmarks.servers import Space

ROWS = 100_000
"""In one statement."""

# One row after the other is some microseconds younger, so ids (UUIDv7) and due times are in their order. The filler is
# a part of one long text of hex digits, each time another one: PostgreSQL finds nothing in it to compress.
_MADE = """
    SELECT
        (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(4 * (us % 1000)), 3, '0')
            || 'a' || lpad(to_hex(n), 7, '0') || left(hash, 8))::uuid AS id,
        md5(hash || at)::uuid::text AS idempotency_key,
        sha256(hash::bytea) AS request_hash,
        '{"number":' || n
            || CASE WHEN $4::int = 0 THEN '' ELSE ',"filler":"' || substr(digits, 1 + n * 997 % $4, $4) || '"' END
            || '}' AS payload,
        n,
        at
    FROM
        (SELECT string_agg(md5(part::text), '') AS digits FROM generate_series(0, $4::int / 16) AS part) AS filler,
        (
            SELECT n, md5(n::text) AS hash, at, (1000000 * extract(epoch FROM at))::bigint AS us
            FROM (SELECT n, clock_timestamp() - $3::interval AS at FROM generate_series($1::int, $2::int) AS n) AS timed
        ) AS numbered
"""

# Without keys, as all but the first row of a batch: a row with a key is not purged on its first day.
_WAITING = f"""
INSERT INTO tasks (id, name, type, queue, payload, payload_bytes, priority, status, due_at, created_at)
SELECT id, 'bench', 'noop', 'default', payload::json, octet_length(payload), 'MEDIUM', 'NEW', at, at
FROM ({_MADE}) AS made
"""

# Of a hundred two have failed and one was cancelled while it ran, each with its attempt.
_ENDED = f"""
WITH ended AS (
    INSERT INTO tasks (
        id, name, type, queue, payload, payload_bytes, priority, status, due_at, created_at, idempotency_key,
        request_hash, attempt, failures, lease_token, worker_id, dispatched_at, started_at, finished_at, version,
        cancel_requested_at, result, result_bytes, error, fingerprint
    )
    SELECT
        id, 'bench', 'noop', 'default', payload::json, octet_length(payload), 'MEDIUM', status, at, at,
        idempotency_key, request_hash, 1, (status = 'FAILED')::int, md5('token' || n / 50)::uuid,
        md5('worker' || n / 100000)::uuid, at + interval '10 ms', at + interval '20 ms', at + interval '30 ms', 4,
        CASE status WHEN 'CANCELLED' THEN at + interval '25 ms' END,
        CASE status WHEN 'COMPLETED' THEN n::text::json END,
        CASE status WHEN 'COMPLETED' THEN length(n::text) ELSE 0 END,
        CASE status WHEN 'FAILED' THEN
            '{{"code": "handler_error", "message": "division by zero", "type": "ZeroDivisionError"}}'::jsonb
        END,
        CASE status WHEN 'FAILED' THEN left(md5((n % 7)::text), 16) END
    FROM (
        SELECT
            *,
            coalesce((ARRAY['FAILED', 'FAILED', 'CANCELLED'])[1 + n % 100], 'COMPLETED') AS status
        FROM ({_MADE}) AS made
    ) AS with_status
    RETURNING id, worker_id, started_at, finished_at, status, error
)
INSERT INTO task_attempts (task_id, attempt, worker_id, host, pid, started_at, ended_at, outcome, error, traceback)
SELECT
    id, 1, worker_id, 'benchmark', 1, started_at, finished_at,
    CASE status WHEN 'FAILED' THEN 'FAIL' ELSE 'CONFIRM_CANCEL' END, error,
    repeat('  File "tasks.py", line 7' || chr(10), 20)
FROM ended
WHERE status <> 'COMPLETED'
"""

ENDED_AGE = timedelta(days=2)
"""How long ago filled tasks had ended."""


async def waiting(space: Space, count: int, *, age: timedelta = timedelta(), filler_bytes: int = 0) -> None:
    """Put so many tasks that wait, due for `age`, with so many bytes in their payloads beside a number."""
    await _fill(space, _WAITING, count, age, filler_bytes)


async def ended(space: Space, count: int) -> None:
    """Put so many tasks that have ended, with their attempts."""
    await _fill(space, _ENDED, count, ENDED_AGE, 0)


async def settle(space: Space) -> None:
    """Vacuum, analyze and write everything to disk, so that no measure pays for what was put before it."""
    await space.execute("VACUUM (ANALYZE) tasks, task_attempts")
    await space.execute("CHECKPOINT")


async def _fill(space: Space, statement: str, count: int, age: timedelta, filler_bytes: int) -> None:
    for first in range(0, count, ROWS):
        await space.execute(statement, first, min(first + ROWS, count) - 1, age, filler_bytes)
