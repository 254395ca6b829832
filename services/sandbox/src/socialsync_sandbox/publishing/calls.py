"""What every publishing call goes through: token, latency, ordered faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from socialsync_common.contracts import Platform
from socialsync_sandbox import fields as asked
from socialsync_sandbox import graph_errors
from socialsync_sandbox.graph import bearer_of, note_proof
from socialsync_sandbox.publishing.faults import PostingFault, PostingFaultKind, Step, live_but_error
from socialsync_sandbox.responses import Disconnect, Json, unless_client_leaves
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

Answer = dict[str, Any]
Effect = Callable[[], Awaitable[Answer]]

_TIMEOUT_SECONDS = 60.0
_SLOW_SECONDS = 1.0


async def perform(
    request: Request, step: Step, account: str | None, effect: Effect, platform: Platform | None = None
) -> Response:
    """One call: refused, answered, or answered wrongly, as was ordered. ``platform``: whose host it is to."""
    sandbox = sandbox_of(request)
    bearer_of(request)
    if platform is None:
        platform = Platform.MESSENGER if account is None else sandbox.state.platform_of(account)
    note_proof(request, platform)
    return await perform_unsigned(request, step, account, effect)


async def perform_unsigned(request: Request, step: Step, account: str | None, effect: Effect) -> Response:
    """The same of a call that bears no token, as logins', or whose token was looked at."""
    sandbox = sandbox_of(request)
    await sandbox.posts.lag()
    fault = sandbox.posts.faults.take(step, account)
    if fault is None:
        return Json(_asked_for(request, await effect()))
    return await _faultily(request, sandbox, fault, effect)


def number(request: Request, name: str, default: int) -> int:
    """A count of the query. Raises GraphError."""
    value = request.query_params.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) < 12):
        raise graph_errors.bad_parameter(f"Param {name} must be a number")
    return int(value)


def _asked_for(request: Request, answer: Answer) -> Answer:
    """Of the answer, or of each row in it, only what ``fields`` names, and the id."""
    fields = request.query_params.get("fields")
    if not fields or request.method != "GET":
        return answer
    names = asked.names(asked.parse(fields)) | {"id"}
    if isinstance(rows := answer.get("data"), list):
        return {**answer, "data": [_pick(row, names) for row in rows]}
    return _pick(answer, names)


def _pick(row: Answer, names: frozenset[str]) -> Answer:
    return {name: value for name, value in row.items() if name in names}


async def _faultily(request: Request, sandbox: Sandbox, fault: PostingFault, effect: Effect) -> Response:
    if refusal := fault.refusal():
        raise refusal
    match fault.kind:
        case PostingFaultKind.DISCONNECT_BEFORE:
            return Disconnect(request)
        case PostingFaultKind.SLOW:
            await asyncio.sleep(_SLOW_SECONDS if fault.seconds is None else fault.seconds)
        case PostingFaultKind.HOLD_BEFORE:
            if not await unless_client_leaves(request, sandbox.state.gate.wait()):
                return Disconnect(request)
    return await _after(request, sandbox, fault, await effect())


async def _after(request: Request, sandbox: Sandbox, fault: PostingFault, answer: Answer) -> Response:
    """It has happened: answer it as was ordered."""
    match fault.kind:
        case PostingFaultKind.LIVE_BUT_ERROR:
            raise live_but_error()
        case PostingFaultKind.SERVER_ERROR_AFTER:
            raise graph_errors.server_error()
        case PostingFaultKind.DISCONNECT_AFTER:
            return Disconnect(request)
        case PostingFaultKind.TIMEOUT_AFTER:
            seconds = _TIMEOUT_SECONDS if fault.seconds is None else fault.seconds
            await unless_client_leaves(request, asyncio.sleep(seconds))
        case PostingFaultKind.HOLD_AFTER:
            await unless_client_leaves(request, sandbox.state.gate.wait())
    return Json(_asked_for(request, answer))
