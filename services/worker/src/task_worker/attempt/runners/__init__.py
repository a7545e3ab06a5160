"""Where handlers run: on the event loop, in a thread, in a process of their own. Each runner returns what happened."""
