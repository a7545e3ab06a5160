#!/bin/sh
# Roles, so that a leak of one password opens no more than its owner needs. Run before the migration, which needs its
# role, and after it, when the tables are there; safe to repeat at any time.
#
#   task_migrator   owns the database and its tables
#   task_api        reads everything; writes tasks, queues, counts of activity and keys; of the audit it changes nothing
#                   that stands in it; deletes nothing
#   task_worker     reads everything but the audit; writes what it runs, deletes what is old; checks the keys of those who
#                   ask for its metrics
#   task_producer   may call create_task() and nothing else; has no password: your own roles become members of it
set -eu

export PGHOST=db PGUSER=postgres PGPASSWORD="$(cat /run/secrets/postgres_password)"

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname postgres <<'SQL'
\set migrator `cat /run/secrets/task_migrator_password`
\set api `cat /run/secrets/task_api_password`
\set worker `cat /run/secrets/task_worker_password`
SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['task_migrator', 'task_api', 'task_worker']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT 'CREATE ROLE task_producer NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'task_producer') \gexec
ALTER ROLE task_migrator PASSWORD :'migrator';
ALTER ROLE task_api PASSWORD :'api';
ALTER ROLE task_worker PASSWORD :'worker';
SELECT 'CREATE DATABASE tasks OWNER task_migrator'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'tasks') \gexec
-- Each database of the server: to a new one, and so to postgres and template1 too, everybody may connect.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database WHERE datallowconn \gexec
GRANT CONNECT ON DATABASE tasks TO task_api, task_worker, task_producer;
\connect tasks
SELECT format('GRANT %s ON %I TO %I', rights, relation, role)
FROM (VALUES
    ('task_api', 'alembic_version', 'SELECT'),
    ('task_api', 'tasks', 'SELECT, INSERT, UPDATE'),
    ('task_api', 'task_attempts', 'SELECT'),
    ('task_api', 'workers', 'SELECT'),
    ('task_api', 'task_types', 'SELECT'),
    ('task_api', 'queues', 'SELECT, INSERT, UPDATE'),
    ('task_api', 'activity_minutes', 'SELECT, INSERT, UPDATE'),
    ('task_api', 'queue_now', 'SELECT'),
    ('task_api', 'failure_hours', 'SELECT'),
    ('task_api', 'api_keys', 'SELECT, INSERT, UPDATE (revoked_at, last_used_at)'),
    ('task_api', 'audit_log', 'SELECT, INSERT'),
    ('task_api', 'pauses', 'SELECT, INSERT, UPDATE'),
    ('task_worker', 'pauses', 'SELECT, UPDATE, DELETE'),
    ('task_worker', 'alembic_version', 'SELECT'),
    ('task_worker', 'tasks', 'SELECT, UPDATE, DELETE'),
    ('task_worker', 'task_attempts', 'SELECT, INSERT'),
    ('task_worker', 'workers', 'SELECT, INSERT, UPDATE, DELETE'),
    ('task_worker', 'task_types', 'SELECT, INSERT, UPDATE, DELETE'),
    ('task_worker', 'queues', 'SELECT'),
    ('task_worker', 'activity_minutes', 'SELECT, INSERT, UPDATE, DELETE'),
    ('task_worker', 'queue_now', 'SELECT, INSERT, UPDATE, DELETE'),
    ('task_worker', 'failure_hours', 'SELECT, INSERT, UPDATE, DELETE'),
    ('task_worker', 'uncounted_tasks', 'SELECT, DELETE'),
    ('task_worker', 'api_keys', 'SELECT, UPDATE (last_used_at)')
) AS granted (role, relation, rights)
WHERE to_regclass(relation) IS NOT NULL \gexec
GRANT USAGE ON SCHEMA public TO task_producer;
-- From PUBLIC too, where a dump was restored without its rights: the function runs as its owner.
SELECT 'REVOKE ALL ON FUNCTION create_task(json) FROM PUBLIC; GRANT EXECUTE ON FUNCTION create_task(json) TO task_producer'
WHERE to_regprocedure('create_task(json)') IS NOT NULL \gexec
SQL
