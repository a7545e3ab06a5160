"""Removes from texts and log fields what must not be logged: passwords, keys, and the contents of rows and payloads.

In doubt it masks too much: a URL with a port, and with an `@` in its query, loses what stands between them.

**Invariants**

- A text of a user or a library is cut before anything looks at it, and each look takes linear time: the interpreter
  lock is held meanwhile, and leases are not renewed.
- What a cut leaves of a secret is masked too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from task_contracts import JsonObject, JsonValue

MASK = "***"

TEXT_CHARS_MAX = 32_768
"""How many characters of a text are looked at, and kept."""

_CUT = "…"

# The password of a URL may contain anything but white space, even an unescaped `@` or `/`: it ends at the last `@` of a
# word. Each word is looked at once, from its beginning; `(?>` does not try again from its second `://`.
_URL_PASSWORD = re.compile(rf"(?<!\S)((?>\S*?://[^\s:/@]*:))\S+(@|{_CUT}\Z)")
_DSN_PASSWORD = re.compile(r"""(password|passwd|pwd)=(?:'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|[^\s&]+)""", re.IGNORECASE)

_API_KEY = re.compile(r"\b(ts_[0-9A-Za-z]{12}_)[0-9A-Za-z]+")
"""Its id stays, by which it can be revoked."""

# PostgreSQL's DETAIL shows the whole row that violates a constraint, SQLAlchemy's parameters show the values of a
# statement. Both stand at the end of a message and may contain any text, so everything after them is removed.
_ROW_MARKS = ("DETAIL: ", "[parameters: ")
_INPUT_MARK = "input_value="
_PYDANTIC_INPUT = re.compile(_INPUT_MARK + r".*?(?=, input_type=|\Z)", re.DOTALL)

_SECRET_WORDS = frozenset({"password", "passwd", "secret", "token", "authorization", "cookie"})
_NOT_SECRET = frozenset({"lease_token"})  # no secret: it says which attempt has written a row


def safe_url(url: str) -> str:
    """Return a URL of any scheme, or a text with URLs in it, with passwords and keys of the API masked."""
    if "ts_" in url:
        url = _API_KEY.sub(rf"\1{MASK}", url)
    if "://" in url:
        url = _URL_PASSWORD.sub(rf"\1{MASK}\2", url)
    return _DSN_PASSWORD.sub(rf"\1={MASK}", url) if "=" in url else url


def safe_text(text: str, max_chars: int = TEXT_CHARS_MAX) -> str:
    """Return `text` with keys and passwords masked, and without the rows, parameters and inputs that errors repeat.

    What is longer than `max_chars` is cut first, and ends with "…".
    """
    if len(text) > max_chars:
        text = text[:max_chars] + _CUT
    for mark in _ROW_MARKS:
        if mark in text:
            text = text.partition(mark)[0].rstrip()
    if _INPUT_MARK in text:
        text = _PYDANTIC_INPUT.sub(_INPUT_MARK + MASK, text)
    return safe_url(text)


def safe_fields(fields: Mapping[str, object]) -> JsonObject:
    """Return the fields of a log line as JSON: secrets are masked by their key, and every text by `safe_text`."""
    names = {safe_text(str(key)): value for key, value in fields.items()}
    return {name: MASK if _is_secret(name) else _safe_value(value) for name, value in names.items()}


@lru_cache(maxsize=512)
def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name not in _NOT_SECRET and not _SECRET_WORDS.isdisjoint(name.split("_"))


def _safe_value(value: object) -> JsonValue:
    if type(value) is str:  # first, and not a case below: nearly all are texts
        return safe_text(value)
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
            return safe_text(_text_of(value))


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 # a foreign __str__: the rest of the line should not be lost by it
        return f"<{type(value).__name__} that cannot be shown>"
