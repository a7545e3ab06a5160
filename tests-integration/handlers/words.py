"""A real piece of work, of the README's kind: counts the words of a file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

from _journal import journaled
from pydantic import BaseModel

from task_worker import Context, handler

_TOP = 5


class TextFile(BaseModel):
    path: Path


@handler("text.words", timeout_seconds=60)
def words(payload: TextFile, context: Context) -> dict[str, Any]:
    with journaled(context):
        text = payload.path.read_bytes()
        counts = Counter(re.findall(rb"\w+", text))
        top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP]
        return {
            "words": counts.total(),
            "top": [[word.decode("ascii"), count] for word, count in top],
            "sha256": hashlib.sha256(text).hexdigest(),
        }
