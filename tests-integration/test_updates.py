"""A bot watches what others release: actions, images, packages. CI asks for known vulnerabilities in what is locked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / ".github").exists(), reason="an image lacks what is for the host alone")


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the repository that match, relative to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    return [Path(name) for name in listed.split("\0") if name]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def folders(*patterns: str) -> set[str]:
    """Return the folders of these files, as the bot writes them."""
    return {f"/{path.parent}".removesuffix(".") for path in tracked(*patterns)}


def test_everything_that_names_a_version_of_others_is_watched() -> None:
    watched = {
        update["package-ecosystem"]: set(update.get("directories") or [update["directory"]])
        for update in read(".github/dependabot.yml")["updates"]
    }

    assert watched == {
        "github-actions": {"/"},  # which stands for .github/workflows
        "uv": folders("uv.lock"),
        "docker": folders("*Dockerfile"),
        "docker-compose": folders("docker-compose*.yml", "*/compose.production.yml"),
    }


def test_ci_asks_for_known_vulnerabilities_in_what_is_locked() -> None:
    commands = [
        step.get("run", "") for job in read(".github/workflows/ci.yml")["jobs"].values() for step in job["steps"]
    ]

    assert any(command.endswith("nox -s audit") for command in commands)
    assert '"uv", "audit", "--locked"' in (ROOT / "noxfile.py").read_text()
