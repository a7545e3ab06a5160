"""The whole task service in one process, with an embedded PostgreSQL."""
