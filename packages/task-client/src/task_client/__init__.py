"""Synchronous and asynchronous client of the task service."""
