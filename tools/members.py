"""The members of the workspace, and the version bounds between them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
BOUNDS = re.compile(r"[\w-]+(\[[\w,-]+\])?>=[\d.]+,<[\d.]+")
"""The form of a member's bounds on another: `task-store[testing]>=0.1,<0.2`."""


@dataclass(frozen=True)
class Member:
    """One package of the workspace, read from its files."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """The file with its version and its bounds."""
        return self.folder / "pyproject.toml"

    @property
    def changelog(self) -> Path:
        """The file in which its users read what is new."""
        return self.folder / "CHANGELOG.md"

    @cached_property
    def project(self) -> dict[str, Any]:
        """The content of its manifest."""
        return tomllib.loads(self.manifest.read_text())

    @property
    def name(self) -> str:
        """The name by which it is installed."""
        return str(self.project["project"]["name"])

    @property
    def package(self) -> str:
        """The name by which it is imported."""
        return self.name.replace("-", "_")

    @property
    def scripts(self) -> list[str]:
        """The commands that it installs."""
        return sorted(self.project["project"].get("scripts", {}))

    @property
    def extras(self) -> str:
        """All its extras as a requirement names them, such as `[embedded]`; empty if it has none."""
        names = self.project["project"].get("optional-dependencies", {})
        return f"[{','.join(sorted(names))}]" if names else ""

    @property
    def sources(self) -> list[str]:
        """The names of the members that it needs, those of its extras and groups included."""
        return list(self.project.get("tool", {}).get("uv", {}).get("sources", {}))

    @property
    def version(self) -> Version:
        """The version that was released last, or that the first release will have."""
        return Version(self.project["project"]["version"])

    def tests(self, *rings: str) -> list[str]:
        """Return the folders of these rings of its tests that exist, relative to the root."""
        folders = [self.folder / "tests" / ring for ring in rings]
        return [str(folder.relative_to(ROOT)) for folder in folders if folder.is_dir()]

    def bounds_on(self, other: Member) -> list[str]:
        """Return its requirements on another member as they are written, those of extras and groups included."""
        project = self.project["project"]
        lists = [
            project.get("dependencies", []),
            *project.get("optional-dependencies", {}).values(),
            *self.project.get("dependency-groups", {}).values(),
        ]
        declared = [one for some in lists for one in some if isinstance(one, str)]
        return [one for one in declared if Requirement(one).name == other.name]

    def admits(self, other: Member, version: Version) -> bool:
        """Return whether its bounds admit this version of another member. They do if it does not need that one."""
        return all(version in Requirement(one).specifier for one in self.bounds_on(other))

    def can_move(self, other: Member) -> bool:
        """Return whether its bounds on another member have the form of `BOUNDS` and admit its present version.

        Any other bounds were chosen by hand, for a reason.
        """
        of_our_form = all(BOUNDS.fullmatch(one) for one in self.bounds_on(other))
        return of_our_form and self.admits(other, other.version)

    def manifest_moved(self, other: Member, version: Version) -> str:
        """Return its manifest with bounds on another member that admit this version."""
        text = self.manifest.read_text()
        for one in self.bounds_on(other):
            text = text.replace(f'"{one}"', f'"{one.partition(">=")[0]}{bounds(version)}"')
        return text


def members() -> dict[str, Member]:
    """Return the members of the workspace by name."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    folders = sorted(path.parent for pattern in patterns for path in ROOT.glob(f"{pattern}/pyproject.toml"))
    return {member.name: member for member in map(Member, folders)}


def bounds(version: Version) -> str:
    """Return the bounds for a version: up to the next minor one before 1.0, up to the next major one from then on."""
    breaks = f"0.{version.minor + 1}" if version.major == 0 else str(version.major + 1)
    return f">={version.major}.{version.minor},<{breaks}"
