from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from task_service.handler_reloader import HandlerReloader
from task_worker import HandlerError
from task_worker.builtin import HttpHosts

_GOOD = "from task_worker import handler\n\n@handler({!r})\nasync def run(): return {}\n"


async def _changed(reloader: HandlerReloader, file: Path, text: str) -> None:
    """Wait for a change, and write the file until it is noticed: a watch takes a moment to begin."""
    waiting = asyncio.create_task(reloader.wait_changed())
    async with asyncio.timeout(10):
        while not waiting.done():
            file.write_text(text)  # noqa: ASYNC240 # a few bytes
            await asyncio.wait([waiting], timeout=0.2)


async def test_a_changed_file_brings_its_new_handlers(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(_GOOD.format("old", 1))
    reloader = HandlerReloader(str(file))

    await _changed(reloader, file, _GOOD.format("new", 22))

    assert set(reloader.handlers) == {"echo", "new"}


async def test_what_may_be_called_is_the_same_after_a_reload(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(_GOOD.format("old", 1))
    reloader = HandlerReloader(str(file), HttpHosts.parse("api.example.org"))
    assert set(reloader.handlers) == {"echo", "http.request", "old"}

    await _changed(reloader, file, _GOOD.format("new", 22))

    assert set(reloader.handlers) == {"echo", "http.request", "new"}


async def test_a_broken_file_leaves_the_last_good_handlers_and_is_waited_out(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(_GOOD.format("old", 1))
    reloader = HandlerReloader(str(file))
    waiting = asyncio.create_task(reloader.wait_changed())

    for _ in range(5):
        file.write_text("def broken(:\n")
        await asyncio.wait([waiting], timeout=0.2)

    assert not waiting.done()
    assert set(reloader.handlers) == {"echo", "old"}
    async with asyncio.timeout(10):
        while not waiting.done():
            file.write_text(_GOOD.format("mended", 333))
            await asyncio.wait([waiting], timeout=0.2)
    assert set(reloader.handlers) == {"echo", "mended"}


async def test_a_changed_neighbour_is_read_anew(tmp_path: Path) -> None:
    neighbour = tmp_path / "neighbour_of_tasks.py"
    neighbour.write_text("TYPE = 'first'\n")
    file = tmp_path / "tasks.py"
    file.write_text("import neighbour_of_tasks\n" + _GOOD.format("x", 1).replace("'x'", "neighbour_of_tasks.TYPE"))
    reloader = HandlerReloader(str(file))
    assert "first" in reloader.handlers

    await _changed(reloader, neighbour, "TYPE = 'second'\n")

    assert "second" in reloader.handlers


def test_what_cannot_be_loaded_the_first_time_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HandlerError):
        HandlerReloader(str(tmp_path / "nothing.py"))


async def test_without_a_place_for_handlers_there_is_never_a_change() -> None:
    waiting = asyncio.create_task(HandlerReloader(None).wait_changed())

    done, _ = await asyncio.wait([waiting], timeout=0.2)

    waiting.cancel()
    assert not done
