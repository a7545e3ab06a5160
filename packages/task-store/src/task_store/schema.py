"""Which revisions of the schema there are, and from which of them a migration leads to this version's."""

from __future__ import annotations

import re

REVISIONS = ("0001",)
"""Every revision that has a migration, oldest first. A test holds them equal to the files of `task_migrations`.

Four digits, and while nothing has been released a letter for each change of the first one: 0001, 0001b, 0001c. They
sort as text in their order.
"""

SCHEMA_REVISION = REVISIONS[-1]
"""The revision of the schema that this code needs. Revisions sort as text: a smaller one is older."""

_OURS = re.compile(r"\d{4}[a-z]?")
_WAY_OUT = "use an empty database (docker-compose down -v; task-service: another --data-dir)"


def why_no_migration(revision: str | None) -> str | None:
    """Return in one line why no migration leads from a revision to this version's, and what to do.

    None where one does (also from None, no schema yet), and for a revision that is this version's or a newer one.

    A revision that has no migration is newer if it looks like one of ours and sorts behind them. Any other is of a
    version before the first release, whose first migration has been changed since, or of another program.
    """
    if revision is None or revision in REVISIONS:
        return None
    if not _OURS.fullmatch(revision):
        return f"the database holds the schema {revision!r}, which is not of this service: {_WAY_OUT}"
    if revision > SCHEMA_REVISION:
        return None
    return (
        f"the database holds the schema {revision} of a version before the first release; no migration leads from it:"
        f" {_WAY_OUT}"
    )
