"""Reads what a route's function takes from a request without FastAPI, where all of it is valid.

FastAPI finds out for each request anew what a function takes. What it knows when the route is made is kept here, and
FastAPI's own fields validate each value. Where one is missing or wrong, FastAPI reads the request again and says so:
no answer differs. (Measured: docs/decisions/0024-rest-path.md.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

from starlette.requests import Request

if TYPE_CHECKING:
    from fastapi.routing import APIRoute


class DirectCall:
    """What the function of a route takes of a request: values of its path, headers that may be missing, its body."""

    def __init__(self, route: APIRoute) -> None:
        takes = route.dependant
        self._request_name = takes.request_param_name
        self._body = takes.body_params[0] if takes.body_params else None
        self._path = {field.alias: field for field in takes.path_params}
        self._headers = {field.alias.lower().encode(): field for field in takes.header_params}
        self._lists = {name for name, field in self._headers.items() if _is_list(field.field_info.annotation)}
        self._defaults = {field.name: field.default for field in takes.header_params}

    @classmethod
    def of(cls, route: APIRoute) -> DirectCall | None:
        """Return what reads the parameters of `route`; None where it takes others too, or returns no response."""
        takes = route.dependant
        others = (
            takes.query_params,
            takes.cookie_params,
            takes.dependencies,
            takes.body_params[1:],
            [field for field in takes.header_params if field.field_info.is_required()],
            takes.response_param_name,
            takes.background_tasks_param_name,
            takes.http_connection_param_name,
            takes.security_scopes_param_name,
            route.response_field,
        )
        return None if any(others) else cls(route)

    async def arguments(self, request: Request) -> dict[str, Any] | None:
        """Return the arguments of the function; None if one is missing or wrong.

        Raises:
            ProblemError: the body cannot be read (see `BodyRequest.body`), or its validator says what is wrong.

        """
        arguments: dict[str, Any] = dict(self._defaults)
        if self._request_name:
            arguments[self._request_name] = request
        sent = [(self._path[name], value) for name, value in request.scope["path_params"].items()]
        if self._body:
            body = await request.body()
            if not body:
                return None
            sent.append((self._body, body))
        sent += ((self._headers[name], value) for name, value in self._sent_headers(request).items())
        for field, value in sent:
            arguments[field.name], errors = field.validate(value)
            if errors:
                return None
        return arguments

    def _sent_headers(self, request: Request) -> dict[bytes, Any]:
        sent: dict[bytes, Any] = {}
        for name, value in request.scope["headers"]:
            if name in self._lists:
                sent.setdefault(name, []).append(value.decode("latin-1"))
            elif name in self._headers:
                sent.setdefault(name, value.decode("latin-1"))
        return sent


def _is_list(annotation: Any) -> bool:
    return list in {get_origin(one) for one in (annotation, *get_args(annotation))}
