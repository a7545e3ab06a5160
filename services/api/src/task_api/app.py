"""Makes the application out of its parts. No I/O: whoever made the parts opens and closes them."""

from __future__ import annotations

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from task_api.access.guard import guard_calls
from task_api.docs import add_docs
from task_api.head import answer_head
from task_api.hosts import HostCheck
from task_api.list_turns import ListTurns
from task_api.openapi import DESCRIPTION, TAGS, TITLE, VERSION, DocumentedApi
from task_api.own_paths import keep_own_paths
from task_api.parts import ApiParts
from task_api.request_middleware import RequestMiddleware
from task_api.root_path import BelowRootPath
from task_api.routes.bulk import add_bulk_calls
from task_api.routes.events import add_event_calls
from task_api.routes.failures import add_failure_calls
from task_api.routes.health import add_health_calls
from task_api.routes.insight import add_insight_calls
from task_api.routes.keys import add_key_calls
from task_api.routes.live import add_live_calls
from task_api.routes.pauses import add_pause_calls
from task_api.routes.tasks import add_task_calls
from task_api.translation import translate_exceptions
from task_api.unread_bodies import UnreadBodies


def create_app(parts: ApiParts) -> DocumentedApi:
    """Return the application, the same one for task-api, for task-service and for tests."""
    settings, root_path = parts.settings, parts.settings.root_path
    app = DocumentedApi(
        settings,
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,  # this turns off FastAPI's own pages too, which load scripts from other hosts
        redirect_slashes=False,
        servers=[{"url": root_path}] if root_path else None,
        # Its own spans would be around health checks and streams too, and its logs hold what callers sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    # Each is put around those before it: a request that the check refuses has an id and a line in the log too.
    app.add_middleware(HostCheck, allowed=[settings.host.lower(), *settings.allowed_hosts])
    app.add_middleware(RequestMiddleware)
    app.add_middleware(UnreadBodies)  # around these: whichever of them answers
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    if root_path:
        app.add_middleware(BelowRootPath, root_path=root_path, routes=app.routes)
    translate_exceptions(app)
    # Half of the time for the turn: a list that has its turn should not be given up at once.
    list_turns = ListTurns(parts.settings.database_pool_size, parts.deadlines.request_seconds / 2)
    add_bulk_calls(app.router, parts, list_turns)
    add_task_calls(app.router, parts, list_turns)
    add_failure_calls(app.router, parts)
    add_event_calls(app.router, parts)
    add_insight_calls(app.router, parts)
    add_live_calls(app.router, parts)
    add_pause_calls(app.router, parts)
    add_key_calls(app.router, parts)
    add_health_calls(app.router, parts)
    guard_calls(app, parts.access)
    add_docs(app)
    keep_own_paths(app)
    answer_head(app)
    return app
