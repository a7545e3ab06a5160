"""What the handlers of a test noted: when which attempt began and ended, on one clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Note:
    """One attempt as its handler saw it. `ended_at` and `how` are None where its process was killed."""

    task_id: UUID
    attempt: int
    token: UUID
    pid: int
    started_at: float
    ended_at: float | None = None
    how: str | None = None


class Journal:
    """The folder that the handlers write to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def notes(self) -> list[Note]:
        """Return all attempts in the order of their starts."""
        note_by_lease: dict[tuple[UUID, UUID], Note] = {}
        for line in sorted(self._lines(), key=itemgetter("at")):
            lease = task_id, token = UUID(line["id"]), UUID(line["token"])
            if line["what"] == "start":
                note_by_lease[lease] = Note(task_id, line["attempt"], token, line["pid"], line["at"])
            else:
                note_by_lease[lease] = replace(note_by_lease[lease], ended_at=line["at"], how=line["what"])
        return list(note_by_lease.values())

    def of(self, task_id: UUID) -> list[Note]:
        """Return the attempts of one task."""
        return [note for note in self.notes() if note.task_id == task_id]

    def first_starts(self) -> list[UUID]:
        """Return the tasks in the order in which each was first started."""
        return list(dict.fromkeys(note.task_id for note in self.notes()))

    def _lines(self) -> Iterator[dict[str, Any]]:
        for file in self.folder.glob("*.jsonl"):
            for line in file.read_text().splitlines():
                yield json.loads(line)
