"""Handlers that workers of the earlier version load too (`test_earlier_version.py`).

So they use only what that version has: take up something new when the version before it is no longer compared.
"""

from __future__ import annotations

import asyncio

from _journal import journaled

from task_worker import Context, Fail, Retry, handler

_WORK_SECONDS = 0.05
_RETRY_SECONDS = 0.2


@handler("lasting.double")
async def double(payload: dict[str, int], context: Context) -> int:
    with journaled(context):
        await asyncio.sleep(_WORK_SECONDS)
        return payload["number"] * 2


@handler("lasting.resume")
async def resume(payload: dict[str, int], context: Context) -> int:
    """Fails until an attempt finds what an earlier one has kept, perhaps under the other version."""
    with journaled(context):
        if context.checkpointed is None:
            await context.checkpoint(payload["number"])
            raise Retry(after_seconds=_RETRY_SECONDS)
        return int(context.checkpointed)


@handler("lasting.fail")
async def fail(context: Context) -> None:
    with journaled(context):
        raise Fail("it will never work", code="hopeless")


@handler("lasting.wait")
async def wait(context: Context) -> None:
    """Runs until it is stopped."""
    with journaled(context):
        await asyncio.Event().wait()
