"""Several worker processes under one parent (`task-worker --processes N`).

`parent` starts, watches and drains them; `worker_process` is one of them, seen from the parent; `child` is what one of
them does to end with its parent; `alive_files` shows the health of all in one file.
"""
