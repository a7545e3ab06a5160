"""What a process counts for Prometheus: names, counts, and the server of `/metrics`.

Nothing here is imported before a process has a port for it (`opening.open_metrics`), but for the `meter` that the
worker's parts are given in any case.
"""
