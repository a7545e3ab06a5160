"""Tasks in PostgreSQL: models, statements and repositories."""
