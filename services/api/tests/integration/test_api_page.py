"""Each request of docs/api.md gets the answer that stands below it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

PAGE = Path(__file__).parents[4] / "docs" / "api.md"
ANY = "…"


class Block(NamedTuple):
    """A request or an answer: its first line, its headers, and its body if it has one."""

    first: str
    headers: dict[str, str]
    body: str


def blocks() -> Iterator[Block]:
    for text in re.findall(r"^```http\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        head, _, body = text.partition("\n\n")
        first, *lines = head.strip().splitlines()
        yield Block(first, dict(line.split(": ", 1) for line in lines), body.strip())


def check(shown: Any, found: Any, place: str) -> None:
    """Check that what is shown is there. An object may have more fields than are shown."""
    if isinstance(shown, dict):
        assert isinstance(found, dict), place
        for name, value in shown.items():
            assert name in found, f"{place}.{name}"
            check(value, found[name], f"{place}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(found), place
        for n, value in enumerate(shown):
            check(value, found[n], f"{place}.{n}")
    elif isinstance(shown, str) and ANY in shown:
        assert re.fullmatch(".+".join(map(re.escape, shown.split(ANY))), str(found)), place
    else:
        assert shown == found, place


async def test_each_request_of_the_page_gets_the_answer_that_is_shown(client: httpx2.AsyncClient) -> None:
    found = list(blocks())
    requests, answers = found[::2], found[1::2]
    assert len(requests) == len(answers) > 0
    for request, shown in zip(requests, answers, strict=True):
        method, path = request.first.split()

        answer = await client.request(method, path, headers=request.headers, content=request.body or None)

        assert str(answer.status_code) == shown.first, (request, answer.text)
        check(shown.headers, {name: answer.headers.get(name) for name in shown.headers}, request.first)
        assert ("Idempotency-Replayed" in answer.headers) == ("Idempotency-Replayed" in shown.headers)
        if shown.body:
            check(json.loads(shown.body), answer.json(), request.first)
