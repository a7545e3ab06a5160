"""Contexts: services by name, in a file of the user's that only the user can read."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import typer

from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._key_places import KeyPlace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Contexts:
    """The servers and the places of keys by the names of their contexts, and which context is used; None for none."""

    server_by_name: dict[str, str] = field(default_factory=dict)
    used: str | None = None
    key_by_name: dict[str, KeyPlace] = field(default_factory=dict)

    def server(self, name: str) -> str:
        """Return the server of a context.

        Raises:
            CommandError: there is none of this name.

        """
        if name not in self.server_by_name:
            known = ", ".join(sorted(self.server_by_name)) or "none yet"
            raise CommandError(ExitCode.USAGE, f"there is no context {name!r}; there are: {known}")
        return self.server_by_name[name]

    def with_server(self, name: str, server: str, key: KeyPlace | None = None) -> Contexts:
        """Return these with one more, which is used if it is the first.

        One that is there is replaced whole: a key is never sent to a server that it was not given for.

        Raises:
            CommandError: the name or the URL is none.

        """
        if not _NAME.fullmatch(name):
            raise CommandError(ExitCode.USAGE, "a context's name has up to 64 letters, digits, dots, - and _")
        check_url(server)
        others = {other: place for other, place in self.key_by_name.items() if other != name}
        return replace(
            self,
            server_by_name={**self.server_by_name, name: server},
            used=self.used or name,
            key_by_name=others if key is None else {**others, name: key},
        )

    def using(self, name: str) -> Contexts:
        """Return these with another one used.

        Raises:
            CommandError: there is none of this name.

        """
        self.server(name)
        return replace(self, used=name)


def check_url(server: str) -> None:
    """Refuse what cannot be the address of a service.

    Raises:
        CommandError: it does not begin with http:// or https://, or names no host.

    """
    if not re.match(r"https?://[^/\s]", server):
        raise CommandError(ExitCode.USAGE, f"a server looks like http://127.0.0.1:9000, not {server!r}")


def path() -> Path:
    """Return the file that holds the contexts, in the user's folder for configuration."""
    return Path(typer.get_app_dir("task-client")) / "contexts.json"


def read() -> Contexts:
    """Return the contexts; none where there is no file.

    Raises:
        CommandError: the file cannot be read, or holds something else.

    """
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        contexts = Contexts(
            {str(name): str(url) for name, url in found["servers"].items()},
            found.get("used"),
            {str(name): KeyPlace(**place) for name, place in found.get("keys", {}).items()},
        )
    except FileNotFoundError:
        return Contexts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(ExitCode.USAGE, f"{path()} cannot be read: {error}") from error
    return contexts


def write(contexts: Contexts) -> None:
    """Replace the file as a whole, so that whoever reads meanwhile sees the old one or the new one.

    Raises:
        CommandError: it cannot be written.

    """
    target = path()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)  # 0600 from the beginning
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            keys = {name: asdict(place) for name, place in contexts.key_by_name.items()}
            json.dump({"used": contexts.used, "servers": contexts.server_by_name, "keys": keys}, file, indent=2)
        Path(name).replace(target)
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{target} cannot be written: {error}") from error
