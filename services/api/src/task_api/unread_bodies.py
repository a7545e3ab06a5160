"""The middleware that reads and drops what the application left of a request's body, before the answer begins.

Most clients read the answer only after they have sent the whole body. Where the server closes the connection before,
they see a reset and never the answer.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DROP_BYTES = 64 << 20
"""The most that is read and dropped of what a caller sends in vain."""
DROP_SECONDS = 1.0
"""The longest time for that."""


class UnreadBodies:
    """Drops the rest of a body; where there is more than can be dropped, or the body was too large, closes.

    A caller that waits for `100 Continue` before it sends its body is not asked for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the application, and send its answer."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)

        async def send_after(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_over = body.is_over or await body.drop()
                if not is_over or message["status"] == 413:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, body.receive, send_after)


class _Body:
    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._is_sent = (b"expect", b"100-continue") not in scope["headers"]
        self.is_over = False

    async def receive(self) -> Message:
        self._is_sent = True
        message = await self._receive()
        self.is_over = not message.get("more_body", False)
        return message

    async def drop(self) -> bool:
        """Return whether the body is over."""
        dropped_bytes = 0
        try:
            async with asyncio.timeout(DROP_SECONDS):
                while self._is_sent and not self.is_over and dropped_bytes < DROP_BYTES:
                    dropped_bytes += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
        return self.is_over


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
