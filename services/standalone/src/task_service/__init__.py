"""The whole task service in one process: `task-service`."""
