"""The REST API of the task service."""
