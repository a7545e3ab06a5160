"""The REST API of the task service.

`app.create_app` makes the application out of `parts.ApiParts`, `server.serve` runs it, `__main__` is the command
`task-api`. Nothing is imported here, so that `task-api check` does not load the web framework.
"""
