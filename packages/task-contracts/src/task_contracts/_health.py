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
    detail: str | None = Field(None, description="What is wrong, for people.")


class Health(BaseModel):
    """How a process of the service is, and whether callers should be sent to it."""

    model_config = ConfigDict(frozen=True)

    status: HealthStatus
    checks: dict[str, HealthCheck] = Field(
        default_factory=dict, description="By name: database, schema, broker, workers."
    )

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.status in {HealthStatus.OK, HealthStatus.DEGRADED}
