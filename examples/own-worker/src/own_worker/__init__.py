"""A project of one's own: handlers that run on the task service."""
