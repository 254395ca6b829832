"""What tests, benches and people steer and count the sandbox with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox.faults import Fault
from socialsync_sandbox.outgoing import Kind
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import sandbox_of
from socialsync_sandbox.state import Wanted


class Account(BaseModel):
    """With ``token``, ``/me`` means this account for whoever bears it."""

    model_config = ConfigDict(extra="forbid")

    platform: Platform
    account_id: str = Field(min_length=1)
    token: str | None = None


class SentQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    platform: Platform | None = None
    account: str | None = None
    contact: str | None = None
    kind: Kind | None = None
    after: int = Field(default=0, ge=0)
    wait: float = Field(default=0.0, ge=0, le=300)


async def add_account(request: Request) -> Response:
    account = await read(request, Account)
    sandbox_of(request).state.learn_account(account.platform, account.account_id, account.token)
    return Json({"success": True})


async def add_fault(request: Request) -> Response:
    sandbox_of(request).state.faults.add(await read(request, Fault))
    return Json({"success": True})


async def list_faults(request: Request) -> Response:
    """What is still to come, and how many requests (also the model's) are held at this moment."""
    state = sandbox_of(request).state
    return Json({"faults": [fault.model_dump() for fault in state.faults.queue], "held": state.gate.held})


async def clear_faults(request: Request) -> Response:
    sandbox_of(request).state.faults.clear()
    return Json({"success": True})


async def release(request: Request) -> Response:
    sandbox_of(request).state.gate.open()
    return Json({"success": True})


async def sent(request: Request) -> Response:
    """A list, in order of acceptance; long-polls for ``wait`` seconds when nothing is newer than ``after``."""
    query = SentQuery.model_validate(dict(request.query_params))
    wanted = Wanted(query.platform, query.account, query.contact, query.kind)
    return Json(await sandbox_of(request).state.sent.read(query.after, wanted, query.wait))


async def counts(request: Request) -> Response:
    """``contacts`` counts texts; what was dropped counts nowhere else."""
    log = sandbox_of(request).state.sent
    kinds = {kind.value: log.kinds[kind] for kind in Kind}
    return Json({"kinds": kinds, "contacts": log.texts_of, "dropped": log.dropped, "last_seq": log.last_seq})


async def pending(request: Request) -> Response:
    """Webhook deliveries: outstanding, got their 200, given up."""
    deliveries = sandbox_of(request).deliveries
    return Json(
        {
            "pending": deliveries.pending,
            "delivered": deliveries.delivered,
            "abandoned": deliveries.abandoned,
        }
    )


async def clear(request: Request) -> Response:
    """A fresh start: records, accounts, faults, media, the model's behaviour and what waits for delivery."""
    await sandbox_of(request).clear()
    return Json({"success": True})


async def health(_request: Request) -> Response:
    return Json({"status": "ok"})


routes = [
    Route("/healthz", health),
    Route("/sandbox/accounts", add_account, methods=["POST"]),
    Route("/sandbox/faults", list_faults),
    Route("/sandbox/faults", add_fault, methods=["POST"]),
    Route("/sandbox/faults", clear_faults, methods=["DELETE"]),
    Route("/sandbox/release", release, methods=["POST"]),
    Route("/sandbox/sent", sent),
    Route("/sandbox/counts", counts),
    Route("/sandbox/pending", pending),
    Route("/sandbox/state", clear, methods=["DELETE"]),
]
