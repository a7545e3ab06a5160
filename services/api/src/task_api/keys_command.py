"""`task-api keys`: creates, lists and revokes keys on the database, where no key is there to ask the API with."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from task_api.settings import ApiSettings
from task_bus.signals import open_signals
from task_contracts import ApiKey, ApiKeyCreate, KeyText, Scope, Signal, SignalKind, limits, printable_text
from task_runtime import IN_PROCESS_BROKER, ExitCode, Misconfigured
from task_store import (
    ApiKeys,
    AuditContext,
    Database,
    Refusal,
    Revocation,
    SchemaMismatchError,
    StoreError,
    UnstorableValuesError,
    UnusableDatabaseError,
)

BY_COMMAND = AuditContext("command")
"""Who acts, in the audit."""
_ALL = "all"
_SIGNAL_SECONDS = 3.0


async def ended(work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Return how a command ended; FAILED, with a line on stderr, where the database did not answer."""
    try:
        return await work
    except StoreError as error:
        return _fail(str(error))


async def create(
    settings: ApiSettings,
    name: str,
    scopes: Sequence[str],
    owner: str | None,
    expires_at: str | None,
    key_file: Path | None = None,
) -> ExitCode:
    """Create a key. Its text alone is printed on stdout, so that a script can read it.

    With a `key_file` its text is the one in there, and nothing is printed; a key that is there already, valid or not,
    stays as it is.

    Raises:
        Misconfigured: a value is wrong, or the database cannot be used.

    """
    words = [word.strip() for given in scopes for word in given.split(",") if word.strip()]
    wanted = {"name": name, "scopes": [*Scope] if _ALL in words else words, "owner": owner, "expires_at": expires_at}
    try:
        asked = ApiKeyCreate.model_validate(wanted, strict=False)
    except ValidationError as error:
        raise Misconfigured(_complaint(error)) from None
    text = KeyText.new() if key_file is None else _read_key(key_file)
    async with _keys(settings) as keys:
        try:
            created = await keys.create(text, asked, BY_COMMAND)
        except UnstorableValuesError as error:
            if error.constraint != "pk_api_keys":
                raise
            _say(f"the key {text.id} is there already")
            return ExitCode.OK
    if created is Refusal.EXPIRED:
        raise Misconfigured("--expires-at: must be a time to come")
    if created is Refusal.TOO_MANY:
        return _fail(f"there are {limits.API_KEYS_MAX} valid keys, the most: revoke one that nobody needs")
    kept = "it is the one of the file" if key_file is not None else "keep its text: it is stored nowhere"
    if key_file is None:
        sys.stdout.write(f"{text}\n")
    _say(f"the key {text.id} may {', '.join(sorted(asked.scopes))}; {kept}")
    return ExitCode.OK


def _read_key(file: Path) -> KeyText:
    try:
        return KeyText.parse(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeError) as error:
        raise Misconfigured(f"--key-file: {file} cannot be read: {error}") from None
    except ValueError as error:
        raise Misconfigured(f"--key-file: {file}: {error}") from None


async def show(settings: ApiSettings) -> ExitCode:
    """Print the keys on stdout, one on a line.

    Raises:
        Misconfigured: the database cannot be used.

    """
    async with _keys(settings) as keys:
        found = await keys.list()
    for key in found:
        sys.stdout.write(f"{printable_text(_line(key))}\n")
    if not found:
        _say("there are no keys")
    return ExitCode.OK


async def revoke(settings: ApiSettings, key_id: str) -> ExitCode:
    """Revoke a key, and tell the processes of the API where the broker can be reached.

    Raises:
        Misconfigured: the database cannot be used.

    """
    async with _keys(settings) as keys:
        outcome = await keys.revoke(key_id, BY_COMMAND)
    if outcome is Revocation.UNKNOWN:
        return _fail(f"there is no key {key_id}")
    if outcome is Revocation.LAST:
        return _fail(f"the key {key_id} is the last one that can create others and does not expire: create one first")
    heard = "no call takes it any more" if await _tell(settings) else "calls may take it for up to 30 s more"
    _say(f"the key {key_id} is revoked; {heard}")
    return ExitCode.OK


async def _tell(settings: ApiSettings) -> bool:
    """Return whether the processes of the API were told that a key was revoked."""
    url = settings.broker_url.get_secret_value()
    if url.startswith(IN_PROCESS_BROKER):
        return False
    try:
        async with open_signals(url, name="task-api keys") as signals:
            await signals.wait_connected(_SIGNAL_SECONDS)
            signals.send(Signal(kind=SignalKind.REVOKED))
            await signals.wait_sent(_SIGNAL_SECONDS)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _keys(settings: ApiSettings) -> AsyncIterator[ApiKeys]:
    try:
        async with Database(
            settings.database_url.get_secret_value(), pool_size=1, application_name="task-api keys"
        ) as database:
            yield ApiKeys(database)
    except UnusableDatabaseError as error:
        raise Misconfigured(f"TASK_DATABASE_URL: {error.advice}") from error
    except SchemaMismatchError as error:
        raise Misconfigured("the database has no table of keys yet: run `task-migrate`") from error


def _line(key: ApiKey) -> str:
    state = "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%dT%H:%MZ}" if key.expires_at else "valid"
    used = f"{key.last_used_at:%Y-%m-%dT%H:%MZ}" if key.last_used_at else "never"
    return f"{key.id}  {state}  {','.join(key.scopes)}  owner {key.owner}  used {used}  {key.name}"


def _complaint(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    option = {"name": "NAME", "scopes": "--scope", "expires_at": "--expires-at"}.get(str(problem["loc"][0]), "--owner")
    return f"{option}: {problem['msg'].removeprefix('Value error, ')}"


def _fail(text: str) -> ExitCode:
    _say(f"error: {text}")
    return ExitCode.FAILED


def _say(text: str) -> None:
    sys.stderr.write(f"{printable_text(text)}\n")
