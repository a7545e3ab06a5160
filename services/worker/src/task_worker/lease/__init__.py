"""The lease of this worker, and what it holds under it."""
