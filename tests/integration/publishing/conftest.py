"""Publishing on a real Postgres, with the sandbox as a process that fetches pictures from a server of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from publishing_world import World, pictures, publishing_world
from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from support import Databases, Tenant


@pytest.fixture(scope="module")
def meta() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def media_url() -> Iterator[str]:
    with pictures() as url:
        yield url


@pytest.fixture
def world(
    tenants: tuple[Tenant, Tenant], databases: Databases, meta: MetaSandbox, media_url: str
) -> Iterator[World]:
    with publishing_world(tenants, databases, meta, media_url) as world:
        yield world


@pytest.fixture
def instagram(world: World) -> Account:
    return world.us.accounts[Platform.INSTAGRAM]


@pytest.fixture
def page(world: World) -> Account:
    return world.us.accounts[Platform.MESSENGER]
