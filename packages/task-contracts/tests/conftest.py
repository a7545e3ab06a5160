"""Settings of hypothesis for this package's tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline for a single example: it would measure how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
