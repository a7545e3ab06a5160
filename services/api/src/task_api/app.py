"""Puts the application together. It does no I/O, and owns nothing: its parts are opened and closed by their owner."""

from __future__ import annotations

from task_api.docs import add_docs
from task_api.openapi import DESCRIPTION, TAGS, TITLE, VERSION, DocumentedApi
from task_api.parts import ApiParts
from task_api.request_middleware import RequestMiddleware
from task_api.routes.health import add_health_calls
from task_api.routes.tasks import add_task_calls
from task_api.translation import translate_exceptions


def create_app(parts: ApiParts) -> DocumentedApi:
    """Return the application: the same one in a process of its own, in the standalone and in tests."""
    app = DocumentedApi(
        parts.settings,
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,  # and with it FastAPI's own pages, which load from elsewhere
        redirect_slashes=False,
    )
    app.add_middleware(RequestMiddleware)
    translate_exceptions(app)
    add_task_calls(app.router, parts)
    add_health_calls(app.router, parts)
    add_docs(app)
    return app
