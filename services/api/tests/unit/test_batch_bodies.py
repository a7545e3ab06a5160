"""A batch is read task by task, so that a large one keeps no other request waiting."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from task_api import batch_bodies
from task_api.batch_bodies import read_batch
from task_api.problems import ProblemError
from task_contracts import limits
from task_contracts.testing import assert_linear


async def turns_of_others(body: bytes) -> int:
    """Return how often others had a turn while a body was read."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    with suppress(ProblemError):
        await read_batch(body)
    counting.cancel()
    return turns


async def test_others_have_a_turn_after_each_task_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"tasks": [{"name": "a"}] * 1000}).encode()
    monkeypatch.setattr(batch_bodies, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(batch_bodies, "_SMALL_BYTES", 0)

    assert await turns_of_others(body) >= 1000


async def test_others_have_a_turn_while_values_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"[1," * limits.BATCH_JSON_NODES
    monkeypatch.setattr(batch_bodies, "_SLICE_SECONDS", 0.0)

    assert await turns_of_others(body) >= limits.BATCH_JSON_NODES // batch_bodies._TOKENS_A_LOOK // 2


async def test_small_batch_is_read_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_bodies, "_SLICE_SECONDS", 60.0)

    assert await turns_of_others(b'{"tasks": [{"name": "a"}]}') == 0


@pytest.mark.parametrize(
    "tasks",
    [
        [{"name": "é", "payload": {"text": "\u2028", "n": [1, 1.5, None, True, 10**18]}, "labels": {"a": "b"}}],
        [{"name": "a", "run_at": "2026-11-01T12:00:00+02:00", "timeout_seconds": 2, "max_attempts": 3}] * 3,
        [{"name": "a"}, {"name": ""}, {"name": "a", "payload": {"n": 1 << 64}}, {"nome": "a"}, 7],
    ],
)
async def test_small_batch_is_read_as_a_large_one(monkeypatch: pytest.MonkeyPatch, tasks: list[Any]) -> None:
    body = json.dumps({"tasks": tasks}).encode()

    async def read() -> Any:
        try:
            return list((await read_batch(body)).tasks)
        except ProblemError as error:
            return error.problem

    small = await read()
    monkeypatch.setattr(batch_bodies, "_SMALL_BYTES", 0)

    assert small == await read()


async def test_body_of_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_bodies, "_JSON", None)

    with pytest.raises(ProblemError) as refused:
        await read_batch(b'{"tasks": [%s]}' % b",".join([b"[]"] * limits.BATCH_JSON_NODES))

    assert refused.value.status_code == 422


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('[1, "[]"]', 3),
        ("[ [ ] ]", 2),
        ('{"a": 1, "b": {}}', 3),
        ('[",,,,,,[[[[[{{{{{"]', 2),
        ('["a, [b, {c", "\\"", "\\\\", "]"]', 5),
        ('{"a\\",": [1, "x,y", null]}', 5),
    ],
)
async def test_values_are_counted_and_not_what_stands_in_texts(
    text: str, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = batch_bodies._Turns()
    for most, is_refused in ((values, False), (values - 1, True)):
        monkeypatch.setattr(limits, "BATCH_JSON_NODES", most)
        if is_refused:
            with pytest.raises(ProblemError):
                await batch_bodies._check_count(text.encode(), turns)
        else:
            await batch_bodies._check_count(text.encode(), turns)


@pytest.mark.parametrize("unit", ["", '"\\', '\\"', '"', "[ ", '"a\\"', "\\"])
def test_no_body_takes_more_than_linear_time_to_count(unit: str) -> None:
    def count(text: str) -> None:
        body = unit * (len(text) // len(unit)) if unit else text
        for _ in batch_bodies._TOKEN.finditer(body.encode(errors="surrogatepass")):
            pass

    assert_linear(count)
