"""An explicit-state model of the protocol: every reachable state of a few processes around one or two tasks.

Events, their guards and their writes are read from `task_contracts.lifecycle`, so the search always runs on the table
as it is. The model adds what the processes do between two statements.

Read in this order: `rows` (one row and one UPDATE), `system` (what each process knows), `statements` (what PostgreSQL
does), `steps` (who does what, what can go wrong), `promises` (what must hold), `search` (visits every state),
`test_protocol` (which models are searched, and what must be found).

How the model maps to the code: `update` is one statement of the store's transitions; `record` and `sweep` are the two
that end an attempt; `claim` takes a task. `_leader` is the leader's dispatch and sweep, `_delivery` and `_poll` are the
worker's claims, `_attempt` is its executor, `_heartbeat` renews its lease and reconciles.

What keeps the number of states small: a token is a flag at each worker that remembers it ("is it still the row's?"); a
message names one task; attempts are not counted; two failures end a task; a process that ends starts again at once
under a new id. Not modelled: priorities, types, retention and other lengths of time, draining, the election, commits
that a failover loses. For a claim, a row that SKIP LOCKED passes over is like a message lost; a second leader is like
a message delivered twice.

The folder is a package (with this file), since under pytest's `importlib` mode only modules of one package can
import each other; its name must not occur twice in the workspace. It belongs to the tests: nothing at run time
reads it.
"""
