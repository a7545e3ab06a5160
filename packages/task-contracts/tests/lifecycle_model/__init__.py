"""An explicit-state model of the protocol: every reachable state of a few processes around one or two tasks.

Which events exist, what guards them and what they write is read from `task_contracts.lifecycle`, so a transition that
is changed there is searched here as it stands. What the model adds is who does what between two statements.

Reading path: `rows` (one row and one UPDATE), `system` (what each process knows), `statements` (what is asked of
PostgreSQL), `steps` (who does what, what can go wrong), `promises` (what must hold), `search` (walks all of it),
`test_protocol` (what is searched and what must be found).

A step of the model and what does it in the code: `update` is one statement of the store's transitions, `record` and
`sweep` are the two that end an attempt, `claim` takes a task; `_leader` is the chores dispatch and sweep, `_intake`
and `_net` the worker's claims, `_attempt` its executor, `_heartbeat` its lease and read-back.

How the space is kept small: a token is a flag in whoever remembers it ("is it still the row's?"); a message names
one task; attempts are not counted; two attempts are allowed; a process that ends starts again at once under a new id.
Not modelled: priorities, types, retention and other lengths of time, draining, which worker leads, what a failover
loses. A row that SKIP LOCKED passes over is to the claim like a message lost, a second leader like one delivered
twice.

The folder is a package (with this file), since under pytest's `importlib` mode only modules of one package can
import each other; its name must not occur twice in the workspace. It stays in tests: nothing at run time reads it.
"""
