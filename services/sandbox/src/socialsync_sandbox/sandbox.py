"""The parts of one sandbox, as its endpoints reach them."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from socialsync_sandbox.behaviour import Model
from socialsync_sandbox.deliveries import Deliveries
from socialsync_sandbox.state import State


@dataclass(slots=True)
class Sandbox:
    deliveries: Deliveries
    status_webhooks: bool = True
    state: State = field(default_factory=State)
    model: Model = field(default_factory=Model)

    async def clear(self) -> None:
        self.state.clear()
        self.model.reset()
        await self.deliveries.clear()


def sandbox_of(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox
