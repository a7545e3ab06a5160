"""Entity tags (RFC 9110, section 8.8.3) from the version of a task.

They are weak: two versions of this service may write the same task in different bytes.
"""

from __future__ import annotations


def etag_of(version: int) -> str:
    """Return the entity tag of a task at this version."""
    return f'W/"{version}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether the header If-None-Match names `etag`, by weak comparison; `*` names every tag."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return tags == ["*"] or etag.removeprefix("W/") in tags
