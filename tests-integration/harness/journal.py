"""What the handlers of a test noted: when which attempt began and ended, on one clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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
        starts: dict[UUID | tuple[UUID, UUID], Note] = {}
        for line in sorted(self._lines(), key=lambda line: float(line["at"])):
            key = (UUID(line["id"]), UUID(line["token"]))
            if line["what"] == "start":
                starts[key] = Note(*key[:1], line["attempt"], key[1], line["pid"], line["at"])
            else:
                begun = starts[key]
                starts[key] = Note(
                    begun.task_id, begun.attempt, begun.token, begun.pid, begun.started_at, line["at"], line["what"]
                )
        return list(starts.values())

    def of(self, task_id: UUID) -> list[Note]:
        """Return the attempts of one task."""
        return [note for note in self.notes() if note.task_id == task_id]

    def first_starts(self) -> list[UUID]:
        """Return the tasks in the order in which each was first started."""
        return list(dict.fromkeys(note.task_id for note in self.notes()))

    def _lines(self) -> Iterator[dict[str, str]]:
        for file in self.folder.glob("*.jsonl"):
            for line in file.read_text().splitlines():
                yield json.loads(line)
