"""Serves /openapi.json, the pages /docs (Swagger UI) and /redoc, and every file that they load.

A browser that opens a page asks no other host, and the Content-Security-Policy forbids it to. The scripts are static
files of the package `fastapi-offline`, of which nothing else is used; pages, icon and start script stand in `assets`.
"""

from __future__ import annotations

from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from task_api.etags import matches

_OURS = Path(__file__).parent / "assets"
_THEIRS = Path(fastapi_offline.__file__).parent / "static"

_FILES = {
    "docs.js": (_OURS, "text/javascript"),
    "icon.svg": (_OURS, "image/svg+xml"),
    "redoc.css": (_OURS, "text/css"),
    "redoc.standalone.js": (_THEIRS, "text/javascript"),
    "swagger-ui-bundle.js": (_THEIRS, "text/javascript"),
    "swagger-ui.css": (_THEIRS, "text/css"),
}

# ReDoc loads a logo from its makers' host, and no option turns that off. An image without content is not shown.
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NO_IMAGE = b"data:,"

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # both pages add styles while they run
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self' blob:",  # ReDoc searches in a worker that it makes from a blob
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def add_docs(app: FastAPI) -> None:
    """Add the document, the pages and their files to `app`."""
    add = partial(app.add_api_route, include_in_schema=False)
    add("/openapi.json", _show_openapi)
    add("/docs", _show_page)
    add("/redoc", _show_page)
    add("/assets/{name}", _show_asset)


async def _show_openapi(request: Request) -> Response:
    return JSONResponse(request.app.openapi(), headers={"Cache-Control": "no-cache"})


async def _show_page(request: Request) -> Response:
    page = (_OURS / f"{request.scope['path'].removeprefix('/')}.html").read_bytes()
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(page, 200, headers, media_type="text/html")


async def _show_asset(request: Request, name: str) -> Response:
    if name not in _FILES:
        raise HTTPException(404)
    content, etag = _read(name)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match"), etag):
        return Response(None, 304, headers)
    return Response(content, 200, headers, media_type=_FILES[name][1])


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return the content of a file, and its entity tag."""
    folder, _ = _FILES[name]
    content = (folder / name).read_bytes().replace(_REDOC_LOGO, _NO_IMAGE)
    return content, f'"{sha256(content).hexdigest()[:16]}"'
