"""Removes from texts and log fields what must not be logged: passwords, and the contents of rows and payloads.

In doubt it masks too much: a URL with a port, and with an `@` in its query, loses what stands between them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from task_contracts import JsonObject, JsonValue

MASK = "***"

# The password of a URL may contain anything but white space, even an unescaped `@` or `/`. Without the bound a long
# text full of colons would take quadratic time.
_URL_PASSWORD = re.compile(r"://([^\s:/@]*):\S{1,500}@")
_DSN_PASSWORD = re.compile(r"\b(password|passwd|pwd)=[^\s&]+", re.IGNORECASE)

# PostgreSQL's DETAIL shows the whole row that violates a constraint, SQLAlchemy's parameters show the values of a
# statement. Both stand at the end of a message and may contain any text, so everything after them is removed.
_ROW = re.compile(r"\s*(?:\bDETAIL: |\[parameters: ).*", re.DOTALL)
_PYDANTIC_INPUT = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)

_SECRET_WORDS = frozenset({"password", "passwd", "secret", "token", "authorization", "cookie"})
_NOT_SECRET = frozenset({"lease_token"})  # no secret: it says which attempt has written a row


def safe_url(url: str) -> str:
    """Return a URL of any scheme, or a text with URLs in it, with passwords masked."""
    if "://" in url:
        url = _URL_PASSWORD.sub(rf"://\1:{MASK}@", url)
    return _DSN_PASSWORD.sub(rf"\1={MASK}", url) if "=" in url else url


def safe_text(text: str) -> str:
    """Return `text` with passwords in URLs masked, and without the rows, parameters and inputs that errors repeat."""
    return safe_url(_PYDANTIC_INPUT.sub(f"input_value={MASK}", _ROW.sub("", text)))


def safe_fields(fields: Mapping[str, object]) -> JsonObject:
    """Return the fields of a log line as JSON: secrets are masked by their key, and every text by `safe_text`."""
    return {str(key): MASK if _is_secret(str(key)) else _safe_value(value) for key, value in fields.items()}


def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name not in _NOT_SECRET and not _SECRET_WORDS.isdisjoint(name.split("_"))


def _safe_value(value: object) -> JsonValue:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return safe_fields(value)
        case list() | tuple() | set() | frozenset():
            return [_safe_value(item) for item in value]
        case _:
            return safe_text(str(value))
