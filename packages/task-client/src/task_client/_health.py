"""What the health calls answer."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class HealthStatus(StrEnum):
    """How it is, from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    """It works, and something needs attention."""
    UNAVAILABLE = "unavailable"
    STOPPING = "stopping"


class HealthCheck(BaseModel):
    """How one thing is that the service stands on."""

    model_config = ConfigDict(frozen=True)

    status: HealthStatus
    detail: str | None = None


class Health(BaseModel):
    """How the service is; `checks` by name, such as "database" or "broker"."""

    model_config = ConfigDict(frozen=True)

    status: HealthStatus
    checks: dict[str, HealthCheck] = Field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.status in {HealthStatus.OK, HealthStatus.DEGRADED}
