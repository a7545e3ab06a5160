"""Runs the tasks: handlers, claims, attempts, leases and the leader's chores."""
