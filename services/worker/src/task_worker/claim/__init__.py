"""Claiming: from free slots to claimed tasks. What runs next is decided here.

- `claim_loop`: fills free slots, by a claim of what was delivered or by the poll.
- `priority_turns`: which priority is next, of what was delivered; within one the queues take turns
  (`prefetch_buffer`).
- `poll_schedule`: when the poll looks at the table; which rows it takes is the statement `claims.OVERDUE` of the store.
- `whole_scan`: looks at the whole table where the poll reads only the later part of it.
- `claimer`: sends the claim statements and starts what they return.
- `slots`: how many tasks may run, and how large their payloads may be together.
"""
