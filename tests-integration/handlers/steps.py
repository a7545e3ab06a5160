"""Handlers that do as a test tells them, each noting its start and end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

from _journal import journaled
from pydantic import BaseModel

from task_contracts import TaskCreate
from task_worker import Context, Fail, Retry, Snooze, handler

_LOOK_SECONDS = 0.02


class Gate(BaseModel):
    """Goes on once the file `gate` is there."""

    gate: Path


@handler("step.noop")
async def noop(context: Context) -> str:
    with journaled(context):
        return str(context.lease_token)


@handler("step.gate")
async def gate(payload: Gate, context: Context) -> str:
    with journaled(context):
        context.progress(50, "at the gate")
        while not payload.gate.exists():  # noqa: ASYNC110 # another process opens it
            await asyncio.sleep(_LOOK_SECONDS)
        return "passed"


@handler("step.gate.thread")
def gate_in_thread(payload: Gate, context: Context) -> str:
    with journaled(context):
        while not payload.gate.exists():
            context.raise_if_stopped()
            time.sleep(_LOOK_SECONDS)
        return "passed"


@handler("step.gate.process", in_process=True)
def gate_in_process(payload: Gate, context: Context) -> str:
    with journaled(context):
        context.progress(50, "at the gate")
        while not payload.gate.exists():
            time.sleep(_LOOK_SECONDS)
        return "passed"


@handler("step.slow_to_stop")
async def slow_to_stop(payload: Gate, context: Context) -> None:
    """Runs until it is stopped, and then tidies up until the gate opens."""
    with journaled(context):
        try:
            await asyncio.Event().wait()
        finally:
            while not payload.gate.exists():  # noqa: ASYNC110 # another process opens it
                await asyncio.sleep(_LOOK_SECONDS)


@handler("step.deaf")
def deaf(payload: Gate, context: Context) -> str:
    """Cannot be stopped: it is a thread, and does not ask."""
    with journaled(context):
        while not payload.gate.exists():
            time.sleep(_LOOK_SECONDS)
        return "passed"


@handler("step.pause")
async def pause(payload: dict[str, float], context: Context) -> str:
    with journaled(context):
        await asyncio.sleep(payload["seconds"])
        return str(context.lease_token)


@handler("step.raise")
async def raise_(payload: dict[str, str], context: Context) -> None:
    with journaled(context):
        raise RuntimeError(payload.get("text", "broken on purpose"))


@handler("step.fail")
async def fail(context: Context) -> None:
    with journaled(context):
        raise Fail("it will never work", code="hopeless")


@handler("step.retry")
async def retry(context: Context) -> str:
    """Asks for another attempt once."""
    with journaled(context):
        if context.attempt == 1:
            raise Retry(after_seconds=0.1)
        return "at the second attempt"


@handler("step.snooze")
async def snooze(context: Context) -> str:
    """Asks to be called again once; no failure."""
    with journaled(context):
        if context.attempt == 1:
            raise Snooze(after_seconds=0.1)
        return "awake"


@handler("step.follow")
async def follow(context: Context) -> str:
    """Creates a task of its own."""
    with journaled(context):
        return str((await context.client.create(TaskCreate(name="next", type="step.noop"))).id)


@handler("step.follow.thread")
def follow_in_thread(context: Context) -> str:
    with journaled(context):
        return str(context.sync_client.create(TaskCreate(name="next", type="step.noop")).id)


@handler("step.follow.process", in_process=True)
def follow_in_process(context: Context) -> str:
    with journaled(context):
        return str(context.sync_client.create(TaskCreate(name="next", type="step.noop")).id)


@handler("step.unstorable")
async def unstorable(context: Context) -> float:
    with journaled(context):
        return float("nan")


@handler("step.leftover")
def leftover(context: Context) -> None:
    """Leaves a thread behind."""
    with journaled(context):
        threading.Thread(target=time.sleep, args=(60,)).start()


@handler("step.abort.process", in_process=True)
def abort(context: Context) -> None:
    """Kills its process."""
    with journaled(context):
        os.abort()
