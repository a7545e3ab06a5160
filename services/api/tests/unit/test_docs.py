from __future__ import annotations

import re

import httpx2
import pytest

ASSET = re.compile(r'(?:href|src)="([^"]+)"')


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_names_no_other_host_and_every_file_of_it_is_served(client: httpx2.AsyncClient, page: str) -> None:
    answer = await client.get(page)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text
    files = ASSET.findall(answer.text)
    assert len(files) >= 3
    for name in files:
        served = await client.get(f"/{name}")
        assert served.status_code == 200
        assert served.content


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_policy_forbids_the_browser_to_ask_another_host(client: httpx2.AsyncClient, page: str) -> None:
    policy = (await client.get(page)).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy


async def test_redoc_does_not_fetch_its_logo(client: httpx2.AsyncClient) -> None:
    assert "cdn.redoc.ly" not in (await client.get("/assets/redoc.standalone.js")).text


async def test_swagger_asks_nobody_whether_the_document_is_valid(client: httpx2.AsyncClient) -> None:
    assert "validatorUrl: null" in (await client.get("/assets/docs.js")).text


async def test_a_file_that_the_browser_has_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    etag = (await client.get("/assets/icon.svg")).headers["etag"]

    again = await client.get("/assets/icon.svg", headers={"if-none-match": etag})

    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapp.py", "%2e%2e/app.py", "docs.html"])
async def test_nothing_but_the_files_of_the_pages_is_served(client: httpx2.AsyncClient, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/assets/icon.svg", "/health/live"])
async def test_head_is_answered_as_get_is(client: httpx2.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)

    assert head.status_code == 200
    assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}
