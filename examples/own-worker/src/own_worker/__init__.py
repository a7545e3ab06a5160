"""A project of your own: handlers that run on the task service."""
