"""Reads settings from the environment. Each error names the variable that somebody has to change."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from task_contracts import printable_text
from task_runtime.addresses import has_shipped_password, is_loopback
from task_runtime.exits import ExitCode
from task_runtime.settings import ProcessSettings

_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://[\w.:\[\]-]+:\d+", re.IGNORECASE)
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))")
"""What Kubernetes sets in every pod for each Service, in variables that begin with its name."""

Settings = TypeVar("Settings", bound=ProcessSettings)

_SHIPPED = "the password is the shipped one; choose your own where others reach the server"
_OPEN_METRICS = (
    "anybody who reaches {} may read the metrics: set TASK_METRICS_AUTH=keys, "
    "or off where something else keeps strangers away"
)
_OWNED_PREFIXES = ("TASK_API_", "TASK_CLIENT_", "TASK_SERVICE_", "TASK_TEST_", "TASK_WORKER_")
"""Prefixes of variables that one process reads. The others ignore them, since processes often share an environment."""


def read_settings(cls: type[Settings], **given: Any) -> Settings:
    """Return the settings of a process; `given` fields (by name) win over the environment.

    Errors are written to stderr, one line for each variable, without its value.

    Raises:
        SystemExit: with `ExitCode.MISCONFIGURED`, if anything is missing or wrong.

    """
    try:
        return cls(**given)
    except ValidationError as error:
        complaints = _complaints(cls, error)
    except SettingsError as error:  # a file in the secrets folder cannot be read, or is no text
        complaints = [f"{error}: {error.__cause__}"]
    for line in complaints:
        sys.stderr.write(f"error: {printable_text(line, is_multiline=True)}\n")
    raise SystemExit(ExitCode.MISCONFIGURED)


def variable_names(cls: type[ProcessSettings]) -> dict[str, str]:
    """Return the environment variable of each field, by the field's name."""
    prefix = cls.model_config.get("env_prefix", "")
    return {
        name: field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name}".upper()
        for name, field in cls.model_fields.items()
    }


def unknown_variables(*classes: type[ProcessSettings], environment: Mapping[str, str] | None = None) -> list[str]:
    """Return a warning for each variable that none of these classes reads, and that was probably meant for one of them.

    These are the unknown variables with a prefix of theirs, and any other `TASK_*` that is spelt nearly as one that
    they read. Variables of other processes (`TASK_API_*` in a worker) are ignored, and those that Kubernetes sets.
    `environment` is `os.environ` unless given.
    """
    known = {variable for cls in classes for variable in variable_names(cls).values()}
    own = tuple({cls.model_config.get("env_prefix", "") for cls in classes} - {"TASK_"})
    foreign = tuple(set(_OWNED_PREFIXES) - set(own))
    given = {name.upper(): value for name, value in (os.environ if environment is None else environment).items()}
    strangers = sorted(
        name
        for name in given.keys() - known
        if name.startswith("TASK_") and not name.startswith(foreign) and not _is_service_link(name, given[name])
    )
    return [line for name in strangers if (line := _warning(name, known, is_own=name.startswith(own)))]


def shared_startup_warnings(settings: ProcessSettings) -> list[str]:
    """Return the startup warnings that are the same for every process, each a sentence that says what to do.

    They are about passwords that everybody knows, about metrics that other machines reach without a key, and about
    `unknown_variables`. They repeat no secret.
    """
    urls = {"TASK_DATABASE_URL": settings.database_url, "TASK_BROKER_URL": settings.broker_url}
    shipped = [name for name, url in urls.items() if has_shipped_password(url.get_secret_value())]
    is_open = settings.metrics_port is not None and settings.metrics_auth is None
    is_open = is_open and not is_loopback(settings.metrics_host)
    return [
        *(f"{name}: {_SHIPPED}" for name in shipped),
        *([_OPEN_METRICS.format(settings.metrics_host)] if is_open else []),
        *unknown_variables(type(settings)),
    ]


def _complaints(cls: type[ProcessSettings], error: ValidationError) -> list[str]:
    variables = variable_names(cls)
    reasons: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False):
        place = str(problem["loc"][0]) if problem["loc"] else ""
        variable = variables.get(place, place)
        reasons.setdefault(variable, _reason(variable, problem))
    return [f"{variable}: {reason}" if variable else reason for variable, reason in reasons.items()]


def _reason(variable: str, problem: Mapping[str, object]) -> str:
    """Return what is wrong, without the value."""
    if problem["type"] == "missing":
        return "is required, but not set"
    if variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(str(problem["input"])):
        service = variable.removesuffix("_PORT").lower().replace("_", "-")
        return (
            f"Kubernetes has set it to the address of a Service called {service}; set it in the pod yourself, or"
            " enableServiceLinks: false there, or rename the Service"
        )
    text = str(problem["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_ADDRESS.fullmatch(value) or _SERVICE_LINK.fullmatch(name))


def _warning(name: str, known: set[str], *, is_own: bool) -> str | None:
    matches = get_close_matches(name, known, n=1, cutoff=0.8)
    if matches:
        return f"{name} is not a setting; did you mean {matches[0]}?"
    return f"{name} is not a setting" if is_own else None
