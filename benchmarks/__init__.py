"""The service and its peers, measured side by side in one run: `uv run nox -s benchmark`."""
