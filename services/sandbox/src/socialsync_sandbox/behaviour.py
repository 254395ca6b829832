"""How the model server is told to behave, and what it counted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(BaseModel):
    """``text`` replaces the usual answer; ``hold`` waits for a release; errors come after the delay.

    ``obedience``: the model does what it reads, whoever wrote it. It cannot read pixels: ``picture_text`` is what it
    then reads in a picture.
    """

    model_config = ConfigDict(extra="forbid")

    delay_seconds: float = Field(default=0.0, ge=0, le=3600)
    status: int = Field(default=200, ge=200, le=599)
    hold: bool = False
    text: str | None = None
    obedience: bool = False
    picture_text: str | None = None


class Model:
    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.calls = 0
        self.in_flight = 0
        self.peak_in_flight = 0

    def reset(self) -> None:
        self.behaviour = Behaviour()
        self.calls = 0
        self.peak_in_flight = self.in_flight

    def report(self) -> dict[str, Any]:
        return {
            **self.behaviour.model_dump(),
            "calls": self.calls,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
        }
