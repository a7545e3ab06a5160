"""Answers HEAD wherever GET is answered, as RFC 9110 requires (section 9.1)."""

from __future__ import annotations

from copy import copy

from fastapi import FastAPI
from fastapi.routing import APIRoute


def answer_head(app: FastAPI) -> None:
    """Add a HEAD route for each GET route of `app`; call it once all of those are there.

    They are routes of their own, behind all others, because FastAPI would document HEAD as a second operation of the
    same name. The body of the answer is made and left out by the server.
    """
    for route in list(app.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            head = copy(route)
            head.methods = {"HEAD"}
            head.include_in_schema = False
            app.router.routes.append(head)
