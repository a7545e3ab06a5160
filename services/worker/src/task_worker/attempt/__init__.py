"""One attempt: from a claimed task to its recorded ending.

Start with `executor`: it reads from top to bottom.

- `executor`: validates the payload, runs the handler, records the ending; logs it.
- `runners/`: run code on the event loop, in a thread or in a process, and stop it.
- `outcome`: what running a handler can come to.
- `result`: makes JSON of the value that a handler returned.
- `ending`: what is recorded for an outcome, and how long a retry waits.
- `recorder`: writes endings and progress until the database has stored them.
"""
