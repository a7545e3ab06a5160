"""Entity tags (RFC 9110, section 8.8.3) from the version of a task.

They are weak: two versions of this service may write the same task in different bytes.
"""

from __future__ import annotations

import re

_VERSION = re.compile(r'(?:W/)?"([0-9]{1,10})"')
_VERSION_MAX = (1 << 31) - 1


def etag_of(version: int) -> str:
    """Return the entity tag of a task at this version."""
    return f'W/"{version}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether the header If-None-Match names `etag`, by weak comparison; `*` names every tag."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return tags == ["*"] or etag.removeprefix("W/") in tags


def expected_versions(if_match: str | None) -> list[int] | None:
    """Return the versions that the header If-Match names; None where it is missing or `*`, which allow any.

    A tag that is none of ours names no version. They are compared as numbers: our tags are weak, and by the strong
    comparison of RFC 9110 no If-Match could ever be fulfilled.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = (_VERSION.fullmatch(tag.strip()) for tag in if_match.split(","))
    return [version for one in found if one and (version := int(one[1])) <= _VERSION_MAX]
