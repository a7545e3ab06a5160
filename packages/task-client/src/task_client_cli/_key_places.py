"""Where the command finds the caller's key: in a variable of the environment, or in what another command prints.

The key itself stands neither on the command line, where every user of the machine sees it and a shell keeps it, nor in
a file of this command's.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from task_client_cli._exits import CommandError, ExitCode

_KEY = re.compile(r"ts_[0-9A-Za-z]{12}_[0-9A-Za-z]{8,}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMAND_SECONDS = 10.0
_SHOWN_CHARS = 500


@dataclass(frozen=True)
class KeyPlace:
    """A variable of the environment, or a command whose first line of output is the key: one of them."""

    env: str | None = None
    command: str | None = None

    @classmethod
    def of(cls, env: str | None, command: str | None) -> KeyPlace | None:
        """Return the place that somebody typed; None if there is none.

        Raises:
            CommandError: it is none, is two, or has the key itself in it.

        """
        for text in (env, command):
            refuse_key(text or "")
        if env is not None and command is not None:
            raise CommandError(ExitCode.USAGE, "the key is in a variable, or comes from a command: give one of them")
        if env is not None and not _VARIABLE.fullmatch(env):
            raise CommandError(ExitCode.USAGE, f"{env!r} is no name of a variable")
        if command is not None:
            _words(command)
        return None if env is command is None else cls(env, command)

    def __str__(self) -> str:
        return f"the variable {self.env}" if self.env is not None else f"the command {self.command!r}"

    def read(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the key. A command runs without a shell, and has ten seconds.

        Raises:
            CommandError: there is none; what a command says of that on its stderr is in the message.

        """
        if self.env is not None:
            text = environment.get(self.env, "")
        else:
            text = _first_line(_words(self.command or ""), str(self))
        if not text.strip():
            raise CommandError(ExitCode.USAGE, f"there is no key in {self}")
        return text.strip()


def refuse_key(text: str) -> None:
    """Refuse what has a key in it, without repeating it.

    Raises:
        CommandError: see there.

    """
    if _KEY.search(text):
        said = (
            "a key does not belong on the command line, where others see it and the shell keeps it: put it into a "
            "variable or a store of secrets, and get a new one in place of this one"
        )
        raise CommandError(ExitCode.USAGE, said)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CommandError(ExitCode.USAGE, f"{command!r} is no command: {error}") from None
    if not words:
        raise CommandError(ExitCode.USAGE, "the command that prints the key is empty")
    return words


def _first_line(words: list[str], name: str) -> str:
    try:
        process = subprocess.Popen(  # noqa: S603 # the user's own command, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{name} cannot be run: {error.strerror}") from None
    try:
        printed, said = process.communicate(timeout=_COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()  # without a look: what it has started may hold the other end open
        raise CommandError(ExitCode.USAGE, f"{name} took longer than {_COMMAND_SECONDS:g} s") from None
    if process.returncode != 0:
        why = said.decode(errors="replace").strip()[-_SHOWN_CHARS:]
        raise CommandError(ExitCode.USAGE, f"{name} ended with {process.returncode}: {why}")
    return printed.decode(errors="replace").partition("\n")[0]
