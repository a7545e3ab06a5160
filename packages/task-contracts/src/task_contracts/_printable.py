"""Makes text of others fit to be printed: it cannot move a cursor, change colours or turn the order of what follows."""

from __future__ import annotations

import json
from itertools import chain

_CONTROLS = chain(range(0x20), range(0x7F, 0xA0))
_LINES_AND_DIRECTIONS = chain((0x061C, 0x200E, 0x200F), range(0x2028, 0x202F), range(0x2066, 0x206A))
"""The separators of lines and paragraphs, and the characters that control the direction of text (Unicode, UAX #9)."""

_ESCAPES = {code: json.dumps(chr(code))[1:-1] for code in chain(_CONTROLS, _LINES_AND_DIRECTIONS)}
_ESCAPES_BUT_NEWLINE = {code: escape for code, escape in _ESCAPES.items() if code != ord("\n")}


def printable_text(text: str, *, is_multiline: bool = False) -> str:
    r"""Return `text` with control and bidirectional characters escaped as JSON does: `\u001b`, `\n`.

    If `is_multiline`, newlines stay as they are. In a JSON document, only what stands in its strings is changed, and it
    means the same.
    """
    if text.isprintable():  # none of them is; asking costs less than looking at each
        return text
    return text.translate(_ESCAPES_BUT_NEWLINE if is_multiline else _ESCAPES)
