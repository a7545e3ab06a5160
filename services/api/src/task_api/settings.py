"""The settings of the API, from its environment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import SettingsConfigDict

from task_api.hosts import HostNames
from task_api.root_path import RootPath
from task_api.trusted_proxies import Networks
from task_contracts import TypeName
from task_runtime import ProcessSettings, is_loopback


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


class ApiSettings(ProcessSettings):
    """TASK_API_*, and the settings of every process.

    Limits on what callers send are no settings: they stand in `task_contracts.limits`.
    """

    model_config = SettingsConfigDict(env_prefix="TASK_API_")

    host: str = Field("127.0.0.1", min_length=1)
    """The address to listen on. Without keys whoever reaches it may create and cancel tasks."""
    port: int = Field(9000, ge=0, le=65_535)
    """The port to listen on; 0 takes a free one."""
    auth: Annotated[Literal["off", "keys"] | None, BeforeValidator(_empty_is_none)] = None
    """Whether callers need keys. None: they do not, and the start says so where other machines reach `host`."""
    allowed_hosts: HostNames = ()
    """The names with a dot, beside `host`, by which the API may be called; addresses and other names always may."""
    root_path: RootPath = ""
    """The path below which a proxy serves the API, such as /tasks-service; empty where it is at the root."""
    trusted_proxies: Networks = ()
    """The proxies that are believed what they say of their callers in X-Forwarded-For and X-Forwarded-Proto."""
    migrate: bool = True
    """Whether the schema is brought up to date at the start."""
    default_type: Annotated[TypeName | None, BeforeValidator(_empty_is_none)] = "echo"
    """The type of a task that names none; empty makes type required."""
    database_pool_size: int = Field(5, ge=1, le=500)
    """Database connections for callers; lists use two of five at once. One more is for the health checks."""
    streams_max: int = Field(1_000, ge=0)
    """Streams of events open at once, at most; never more than half of the connections."""

    @property
    def has_keys(self) -> bool:
        """Whether callers need keys."""
        return self.auth == "keys"

    @property
    def is_open_by_oversight(self) -> bool:
        """Whether other machines reach the API without keys, and nobody has written that this is meant."""
        return self.auth is None and not is_loopback(self.host)
