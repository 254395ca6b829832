"""Connects WhatsApp numbers: Meta is asked first whether the token is good for the number and for its account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from fastapi import Response

from socialsync_common.errors import AuthenticationExpired, PermanentError, TransientError
from socialsync_common.platforms.login import NotFound
from socialsync_gateway.accounts.connector import Connected, Connector, NewAccount, Taken
from socialsync_gateway.database import Database
from socialsync_gateway.problems import ProblemError, problem

log = structlog.get_logger()

Fault = dict[str, str]


async def connect(
    database: Database, connector: Connector, tenant: UUID, number: NewAccount
) -> Connected | Response:
    """Connect it, called as WhatsApp calls it where it has no name; the response is a 422 that points at what Meta
    refuses.

    Raises:
        ProblemError: 409 where another tenant has it, 502 where Meta does not answer.
    """
    login = connector.login
    (name, number_fault), (_, account_fault) = await asyncio.gather(
        _ask(connector, "/body/external_id", login.number_name, number.external_id, number.token),
        _ask(
            connector,
            "/body/business_account_id",
            login.is_subscribed,
            number.platform,
            number.business_account_id,
            number.token,
        ),
    )
    faults = [fault for fault in (number_fault, account_fault) if fault]
    if faults:
        log.info("number refused", tenant=str(tenant), number=number.external_id)
        once = list({fault["pointer"]: fault for fault in faults}.values())  # a bad token shows in both
        return problem(422, "Meta refuses it: see errors.", kind="refused-by-meta", errors=once)
    try:
        connected = await connector.connect(
            database, tenant, [replace(number, name=number.name or str(name))]
        )
    except Taken as error:
        raise ProblemError(409, f"{error}.", kind="account-taken") from None
    return connected[0]


async def _ask(
    connector: Connector, pointer: str, call: Callable[..., Any], *arguments: object
) -> tuple[Any, Fault | None]:
    """What Meta says, or what is wrong with the request for it."""
    try:
        return await connector.ask_meta(call, *arguments), None
    except TransientError as error:
        raise ProblemError(
            502,
            f"Meta could not be asked, and nothing was connected: {error}. Try again.",
            kind="meta-away",
        ) from None
    except AuthenticationExpired:
        return None, {"pointer": "/body/token", "detail": "Meta does not accept this token: create a new one"}
    except NotFound as error:
        return None, {"pointer": pointer, "detail": str(error)}
    except PermanentError as error:
        # what remains is mostly a permission that the token lacks
        return None, {"pointer": "/body/token", "detail": str(error)}
