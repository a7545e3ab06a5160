"""A handler whose worker is killed runs again, goes on from its checkpoint, and creates nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.waiting import eventually
from harness.world import World

HANDLERS = """
import time
from task_worker import Context, TaskCreate, handler

TO = ("ann", "bob", "bob")
MAILS = [TaskCreate(name="mail", type="echo", labels={"of": "mails"}, payload={"to": to}) for to in TO]

@handler("mails")
@handler("mails.process", in_process=True)
def create(context: Context):
    for mail in MAILS:
        context.sync_client.create(mail)
    context.sync_client.create(TaskCreate(name="last", type="echo", labels={"of": "mails"}), key="last")
    if context.checkpointed is None:
        context.checkpoint("created")
        context.progress(50)
        time.sleep(600)
    return context.checkpointed
"""


@pytest.mark.parametrize("type_", ["mails", "mails.process"])
async def test_a_handler_whose_worker_is_killed_creates_nothing_twice(world: World, tmp_path: Path, type_: str) -> None:
    handlers = tmp_path / "mails.py"
    handlers.write_text(HANDLERS)
    api = await world.api()
    settings = {"TASK_WORKER_HANDLERS": str(handlers), "TASK_WORKER_API_URL": api.url}
    doomed = await world.worker(**settings)
    (task_id,) = await api.create_all([{"type": type_}])
    await eventually(lambda: has_progress(world, task_id), "it has created all")
    doomed.kill()
    await world.worker(**settings)

    (done,) = await api.all_complete([task_id])
    await eventually(world.tables.are_all_ended, "every task has ended")

    rows = await world.tables.tasks()
    created = sorted(str(row["payload"]) for row in rows if row["type"] == "echo")
    assert (done["attempt"], done["result"]) == (2, "created")
    assert created == ['{"to":"ann"}', '{"to":"bob"}', '{"to":"bob"}', "{}"]


async def has_progress(world: World, task_id: object) -> bool:
    return (await world.tables.task(task_id))["progress"] is not None
