"""Comments on a real Postgres, with the sandbox as a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from comments_world import CommentsWorld, comments_world
from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform
from support import Databases, Tenant


@pytest.fixture(scope="module")
def meta() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@pytest.fixture
def world(tenants: tuple[Tenant, Tenant], databases: Databases, meta: MetaSandbox) -> Iterator[CommentsWorld]:
    with comments_world(tenants, databases, meta) as world:
        yield world


@pytest.fixture
def instagram(world: CommentsWorld) -> Account:
    return world.us.accounts[Platform.INSTAGRAM]


@pytest.fixture
def page(world: CommentsWorld) -> Account:
    return world.us.accounts[Platform.MESSENGER]
