"""Answers of the health calls."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class HealthStatus(StrEnum):
    """The health of a process or of one thing that it depends on, from good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    """It works, and something needs attention."""
    UNAVAILABLE = "unavailable"
    STOPPING = "stopping"


class HealthCheck(BaseModel):
    """The health of one thing that the service depends on."""

    model_config = ConfigDict(frozen=True)

    status: HealthStatus
    detail: str | None = Field(default=None, description="What is wrong, for people.")


class Health(BaseModel):
    """The health of one process of the service: callers should be sent to it only while `is_ready`."""

    model_config = ConfigDict(frozen=True)

    status: HealthStatus
    checks: dict[str, HealthCheck] = Field(
        default_factory=dict, description="By name: database, schema, broker, workers."
    )

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.status in {HealthStatus.OK, HealthStatus.DEGRADED}
