"""Run handlers on the event loop, in a thread, or in a process of their own. Each runner returns the outcome."""
