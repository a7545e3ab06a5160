-- create_task(task json) returns uuid: stores a task as POST /tasks does, inside the caller's own transaction.
--
-- Takes what POST takes, and refuses what POST refuses (test_create_task.py compares the two). Raises, and stores
-- nothing:
--   22023  a field is missing, unknown or wrong; the message names it
--   23503  no API names this queue in TASK_QUEUES
--   22P02, 22P05, 22003, 54001  text, numbers or nesting that PostgreSQL's jsonb does not take
-- A repeat stores another task; what makes a repeat safe is the caller's transaction.
--
-- A caller needs EXECUTE and nothing else: the function runs as its owner. So it looks no name up where the caller may
-- put one, and has no literal whose meaning a setting of the caller changes (backslashes, standard_conforming_strings).
-- It has no percent sign, which Alembic doubles where it prints SQL (1.20).
DO $migration$ BEGIN EXECUTE replace($definition$
CREATE FUNCTION create_task(task json) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    refusal text;
    body jsonb;
    asked_payload json := coalesce(task -> 'payload', '{}');
    asked_queue text;
    asked_run_at timestamptz;
    run_at_parts text[];
    known_type text;
    new_id uuid;
BEGIN
    refusal := CASE
        WHEN task IS NULL OR json_typeof(task) <> 'object' THEN 'the task must be a JSON object'
        WHEN octet_length(task::text) > 1048576 THEN 'the task is larger than 1048576 bytes'
        WHEN json_typeof(asked_payload) <> 'object' THEN 'payload: must be a JSON object'
    END;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION USING MESSAGE = refusal, ERRCODE = 'invalid_parameter_value';
    END IF;

    -- Walks the payload level by level, and ends where there is too much of it. Not by jsonpath, which knows neither
    -- keys nor how a number was written, and needed a minute for a list of half a million.
    WITH RECURSIVE node (depth, key, kind, value) AS (
        SELECT 1, NULL::text, 'object', asked_payload
        UNION ALL
        SELECT node.depth + 1, member.key, json_typeof(member.value), member.value
        FROM node CROSS JOIN LATERAL (
            SELECT entry.key, entry.value
            FROM json_each(CASE node.kind WHEN 'object' THEN node.value ELSE '{}' END) AS entry (key, value)
            UNION ALL
            SELECT NULL, item.value
            FROM json_array_elements(CASE node.kind WHEN 'array' THEN node.value ELSE '[]' END) AS item (value)
        ) AS member
        WHERE node.kind IN ('object', 'array') AND node.depth <= 64
    )
    SELECT CASE
        WHEN max(seen.depth) > 64 THEN 'payload: is nested deeper than 64 levels'
        WHEN count(*) > 20000 THEN 'payload: has more than 20000 values'
        WHEN max(length(seen.key)) > 256 THEN 'payload: has a key longer than 256 characters'
        WHEN bool_or(CASE
            WHEN seen.number ~ '[.eE]' THEN abs(seen.number::numeric) >= 1.797693134862315807e308
            WHEN length(seen.number) >= 19 THEN abs(seen.number::numeric) >= 9223372036854775808
        END) THEN 'payload: has a number that is not finite, or an integer beyond 64 bits'
    END
    INTO refusal
    FROM (
        SELECT node.depth, node.key, CASE node.kind WHEN 'number' THEN node.value::text END AS number
        FROM node LIMIT 20001
    ) AS seen;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION USING MESSAGE = refusal, ERRCODE = 'invalid_parameter_value';
    END IF;

    body := task;  -- refuses NUL and lone surrogates; what is stored as payload is its own text
    run_at_parts := regexp_match(
        body ->> 'run_at',
        '^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:([.][0-9]{1,6})[0-9]*)?'
        '(?:[Zz]|([-+](?:[01][0-9]|2[0-3]):[0-5][0-9]))$'
    );
    BEGIN
        asked_run_at := (run_at_parts[1] || ' ' || run_at_parts[2] || coalesce(run_at_parts[3], ''))::timestamp
            AT TIME ZONE 'UTC' - coalesce(run_at_parts[4], '+00:00')::interval;
    EXCEPTION WHEN datetime_field_overflow THEN
        run_at_parts := NULL;  -- a day that no calendar has
    END;

    SELECT left(field, 100) || ': is not a field of a task' INTO refusal
    FROM jsonb_object_keys(body) AS field
    WHERE field <> ALL (ARRAY[
        'name', 'description', 'priority', 'type', 'queue', 'labels', 'payload', 'run_at', 'timeout_seconds', 'max_attempts'
    ])
    LIMIT 1;
    refusal := CASE
        WHEN refusal IS NOT NULL THEN refusal

        WHEN jsonb_typeof(body -> 'name') IS DISTINCT FROM 'string' THEN 'name: must be a string'
        WHEN length(body ->> 'name') NOT BETWEEN 1 AND 200 THEN 'name: must have 1 to 200 characters'
        WHEN btrim(body ->> 'name', E'\t\n\x0B\f\r\x1C\x1D\x1E\x1F \u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005'
            '\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000') = '' THEN 'name: must not be blank'

        WHEN jsonb_typeof(body -> 'description') NOT IN ('string', 'null') THEN 'description: must be a string'
        WHEN length(body ->> 'description') > 10000 THEN 'description: must have at most 10000 characters'

        WHEN jsonb_typeof(body -> 'priority') <> 'string' OR body ->> 'priority' NOT IN ('LOW', 'MEDIUM', 'HIGH')
            THEN 'priority: must be LOW, MEDIUM or HIGH'

        WHEN jsonb_typeof(body -> 'type') NOT IN ('string', 'null')
            OR length(body ->> 'type') > 100
            OR body ->> 'type' COLLATE "C" !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]*$'
            THEN 'type: must have 1 to 100 letters, digits and ._:/-, and begin with a letter or digit'

        WHEN jsonb_typeof(body -> 'queue') <> 'string' THEN 'queue: must be a string'

        WHEN jsonb_typeof(body -> 'labels') <> 'object' THEN 'labels: must be a JSON object'
        WHEN (
            SELECT count(*) > 16 OR bool_or(
                length(label.key) NOT BETWEEN 1 AND 63
                OR strpos(label.key, ':') > 0
                OR jsonb_typeof(label.value) <> 'string'
                OR length(label.value #>> '{}') > 200
            )
            FROM jsonb_each(body -> 'labels') AS label (key, value)
        ) THEN 'labels: must be at most 16 pairs of a key of 1 to 63 characters without a colon'
            ' and a string of at most 200 characters'

        WHEN jsonb_typeof(body -> 'run_at') NOT IN ('string', 'null')
            OR (jsonb_typeof(body -> 'run_at') = 'string' AND run_at_parts IS NULL)
            THEN 'run_at: must be a date and time with an offset, such as 2026-11-01T12:00:00Z'
        WHEN asked_run_at NOT BETWEEN '2000-01-01T00:00:00Z' AND statement_timestamp() + interval '8760 hours'
            THEN 'run_at: must lie between the year 2000 and 365 days from now'

        WHEN jsonb_typeof(body -> 'timeout_seconds') NOT IN ('number', 'null') THEN 'timeout_seconds: must be a number'
        WHEN CASE WHEN (task ->> 'timeout_seconds')::numeric BETWEEN 0.0001 AND 1000000
            THEN (task ->> 'timeout_seconds')::float8 NOT BETWEEN 0.001 AND 604800
            ELSE task ->> 'timeout_seconds' IS NOT NULL
        END THEN 'timeout_seconds: must be 0.001 to 604800'

        WHEN jsonb_typeof(body -> 'max_attempts') NOT IN ('number', 'null')
            OR task ->> 'max_attempts' !~ '^-?[0-9]+$'
            OR (task ->> 'max_attempts')::numeric NOT BETWEEN 1 AND 25
            THEN 'max_attempts: must be an integer, 1 to 25'
    END;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION USING MESSAGE = refusal, ERRCODE = 'invalid_parameter_value';
    END IF;

    asked_queue := coalesce(body ->> 'queue', 'default');
    SELECT known.default_type INTO known_type FROM {schema}.queues AS known WHERE known.name = asked_queue;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            MESSAGE = 'queue: there is no such queue; there are: '
                || coalesce((SELECT string_agg(known.name, ', ' ORDER BY known.name) FROM {schema}.queues AS known), '-'),
            HINT = 'Each API adds the queues of its TASK_QUEUES when it starts.',
            ERRCODE = 'foreign_key_violation';
    END IF;
    known_type := coalesce(body ->> 'type', known_type);
    IF known_type IS NULL THEN
        RAISE EXCEPTION USING
            MESSAGE = 'type: is required: this service has no default type', ERRCODE = 'invalid_parameter_value';
    END IF;

    -- A UUIDv7 (RFC 9562): a random one of version 4, whose first 48 bits become the time in milliseconds, and whose
    -- version becomes 7 by two bits.
    new_id := encode(set_bit(set_bit(
        overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1
        ), 52, 1), 53, 1), 'hex')::uuid;
    INSERT INTO {schema}.tasks (
        id, name, description, type, queue, labels, payload, payload_bytes, priority, status, run_at, due_at,
        timeout_seconds, max_attempts, created_at
    )
    VALUES (
        new_id,
        body ->> 'name',
        body ->> 'description',
        known_type,
        asked_queue,
        coalesce(body -> 'labels', '{}'),
        asked_payload,
        octet_length(asked_payload::text),
        coalesce(body ->> 'priority', 'MEDIUM'),
        'NEW',
        asked_run_at,
        greatest(asked_run_at, statement_timestamp()),
        (task ->> 'timeout_seconds')::float8,
        (task ->> 'max_attempts')::integer,
        statement_timestamp()
    );
    INSERT INTO {schema}.uncounted_tasks (task_id, queue, priority, type)
    VALUES (new_id, asked_queue, coalesce(body ->> 'priority', 'MEDIUM'), known_type);
    RETURN new_id;
END
$function$
$definition$, '{schema}', quote_ident(current_schema())); END $migration$
