"""Watches tasks for all waiting callers and open streams of this process."""
