"""Settings of hypothesis for this package's tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline for a single example: on a busy machine it would say something about the machine.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
