"""The lease of this worker, and what it holds under it.

- `lease`: until when this worker may act, by its own clock.
- `heartbeat`: renews the lease, and ends the process if code cannot be stopped in time.
- `stopping`: which running tasks are stopped, and which rows are released, when the heartbeat reports a change: a
  requested cancel, a lost lease, rows that differ from what is in flight.
- `in_flight`: what this worker has claimed and not yet recorded, and how it is compared with the rows.
- `alive_file`: shows a container's health check that the worker is alive.
"""
