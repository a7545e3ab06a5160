"""The revisions of the schema, and whether a migration leads from the one that a database holds."""

from __future__ import annotations

import re

REVISIONS = ("0001f", "0002", "0003")
"""Every revision that has a migration, oldest first. A test compares them with the files of `task_migrations`.

Four digits each. Until the first release a change of the first migration adds the next letter: 0001, 0001b, 0001c. As
text they sort in their order.
"""

SCHEMA_REVISION = REVISIONS[-1]
"""The revision of the schema that this code needs. Revisions sort as text: a smaller one is older."""

_OURS = re.compile(r"\d{4}[a-z]?")
_WAY_OUT = "use an empty database (docker-compose down -v; task-service: another --data-dir)"


def why_no_migration(revision: str | None) -> str | None:
    """Return one line that says why no migration leads from `revision` to this version's, and what to do.

    None if one does, if there is no schema yet, or if the revision is this version's or a newer one.

    A revision without a migration is a newer one if it has the form of ours and sorts after them all. Any other belongs
    to a version before the first release, whose first migration has changed since, or to another program.
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
