"""What one worker does for the whole fleet, while it leads.

- `election`: which worker leads; `leader` builds the loops below, `while_leading` repeats them.
- `dispatch`: marks what is due and publishes its ids; `queue_window` decides how much, `broker_queues` publishes.
- `sweep`: declares expired workers dead and brings back their tasks.
- `reject`: ends tasks whose type no worker offers.
- `queue_counts`, `count_created`: what waits and runs, and what `create_task()` has stored.
- `purge`: deletes tasks that ended long ago.
"""
