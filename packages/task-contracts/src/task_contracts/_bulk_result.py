"""The answer of POST /tasks/cancel and POST /tasks/rerun."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BulkResult(BaseModel):
    """What one call has changed of the tasks that match its filter; of a dry run, what it would change.

    A call may change fewer tasks than its limit, even none, and still have a `next_cursor`.
    """

    model_config = ConfigDict(frozen=True)

    changed: int = Field(ge=0, description="Tasks that were changed by this call; of a dry run, that would be by all.")
    changed_is_capped: bool = Field(
        default=False, description="Whether there are, or may be, more than `changed`. Of a dry run only."
    )
    cancel_requested: int = Field(
        default=0, ge=0, description="Those of `changed` that run and were asked to stop. The others are CANCELLED."
    )
    next_cursor: str | None = Field(
        default=None, description="Give it back as `cursor`, with the same filter, to go on. None: nothing is left."
    )
    start_cursor: str | None = Field(
        default=None,
        description="Of a dry run only: the `cursor` to begin with. A first call that has it can be repeated safely.",
    )
