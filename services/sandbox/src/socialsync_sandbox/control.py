"""What tests, benches and people steer and count the sandbox with."""

from __future__ import annotations

from typing import Literal

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
    """With ``token``, ``/me`` means this account for whoever bears it. ``business_account_id``: a number's."""

    model_config = ConfigDict(extra="forbid")

    platform: Platform
    account_id: str = Field(min_length=1)
    token: str | None = None
    name: str | None = None
    business_account_id: str | None = None


class TokenOrder(BaseModel):
    """A token that is good or has ended from now on, and how old it is."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1)
    account: str | None = None
    state: Literal["valid", "expired"] = "valid"
    age_seconds: float | None = Field(default=None, ge=0)


class AccountQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: str = Field(min_length=1)


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
    sandbox = sandbox_of(request)
    sandbox.state.learn_account(account.platform, account.account_id)
    sandbox.accounts.add(account.platform, account.account_id, account.name, account.business_account_id)
    if account.token:
        sandbox.tokens.learn(account.token, account.account_id)
    return Json({"success": True})


async def order_token(request: Request) -> Response:
    order = await read(request, TokenOrder)
    sandbox_of(request).tokens.order(
        order.token, order.account, is_ended=order.state == "expired", age_seconds=order.age_seconds
    )
    return Json({"success": True})


async def list_tokens(request: Request) -> Response:
    """Those of one account, in the order in which they were given out or named."""
    query = AccountQuery.model_validate(dict(request.query_params))
    return Json(sandbox_of(request).tokens.given_for(query.account))


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
    """A fresh start: nothing that was sent, posted, stored, granted or ordered is left, nor what waits for delivery."""
    await sandbox_of(request).clear()
    return Json({"success": True})


async def health(_request: Request) -> Response:
    return Json({"status": "ok"})


routes = [
    Route("/healthz", health),
    Route("/sandbox/accounts", add_account, methods=["POST"]),
    Route("/sandbox/tokens", list_tokens),
    Route("/sandbox/tokens", order_token, methods=["POST"]),
    Route("/sandbox/faults", list_faults),
    Route("/sandbox/faults", add_fault, methods=["POST"]),
    Route("/sandbox/faults", clear_faults, methods=["DELETE"]),
    Route("/sandbox/release", release, methods=["POST"]),
    Route("/sandbox/sent", sent),
    Route("/sandbox/counts", counts),
    Route("/sandbox/pending", pending),
    Route("/sandbox/state", clear, methods=["DELETE"]),
]
