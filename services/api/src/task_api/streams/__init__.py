"""Streams of events: `text/event-stream`, as the HTML standard defines it (section 9.2)."""
