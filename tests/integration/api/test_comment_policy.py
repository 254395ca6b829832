"""What a business wants to happen with its comments: safe defaults, all faults at once; tenants never meet."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from socialsync_common.comment_policy import POLICY, CommentPolicy, policy_of
from socialsync_common.contracts import Platform
from socialsync_common.db import SCOPE, tenant_scope

pytestmark = pytest.mark.integration

DEFAULT = {
    "enabled": True,
    "review": True,
    "reply": "public",
    "praise": "answer",
    "spam": "leave",
    "watch": "published",
    "within_hours": 24,
    "account_per_hour": 60,
    "post_per_hour": 30,
    "author_per_hour": 5,
    "rules": {},
}
RULES = {
    "off": ["emoji_only"],
    "complaint": {"add": ["late order"], "remove": ["cold"]},
    "leave": ["giveaway"],
}


@pytest.fixture
def account(world):
    return world.us.account(Platform.INSTAGRAM)


def path(account) -> str:
    return f"/api/v1/accounts/{account.id}/comment-policy"


def pointers(response):
    assert response.status_code == 422, response.text
    return {error["pointer"]: error["detail"] for error in response.json()["errors"]}


async def test_the_defaults_are_safe(world, account):
    assert (await world.get(path(account))).json() == DEFAULT


async def test_a_policy_is_stored_as_a_whole(world, account, databases):
    wanted = {**DEFAULT, "review": False, "reply": "both", "author_per_hour": 2, "rules": RULES}
    response = await world.put(path(account), wanted)
    assert response.status_code == 200, response.text
    assert response.json() == wanted
    assert (await world.get(path(account))).json() == wanted
    # as workers read it
    with psycopg.connect(databases.service_url, row_factory=dict_row) as connection:
        connection.execute(SCOPE, (tenant_scope([world.us.id]),))
        stored = policy_of(connection.execute(POLICY, (account.id,)).fetchone())
    assert stored == CommentPolicy(review=False, reply="both", author_per_hour=2, rules=RULES)
    # what is left out gets its default again
    assert (await world.put(path(account), {"spam": "hide"})).json() == {**DEFAULT, "spam": "hide"}
    assert (await world.get(path(account))).json() == {**DEFAULT, "spam": "hide"}


async def test_all_faults_are_named_at_once(world, account):
    body = {
        "reply": "loud",
        "within_hours": 0,
        "author_per_hour": 751,
        "rules": {
            "off": ["sensitive", "spam"],
            "complaint": {"add": ["", "x" * 81]},
            "chatter": [],
            "a/b": 1,
        },
        "mood": "good",
    }
    found = pointers(await world.put(path(account), body))
    assert set(found) == {
        "/body/reply",
        "/body/within_hours",
        "/body/author_per_hour",
        "/body/mood",
        "/body/rules/off/0",
        "/body/rules/complaint/add/0",
        "/body/rules/complaint/add/1",
        "/body/rules/chatter",
        "/body/rules/a~1b",
    }
    assert found["/body/rules/complaint/add/0"] == "is not a text of 1 to 80 characters"
    assert set(pointers(await world.put(path(account), {"rules": {"leave": ["x"] * 201}}))) == {"/body/rules"}
    assert (await world.get(path(account))).json() == DEFAULT


async def test_only_pages_can_like(world, account):
    words = pointers(await world.put(path(account), {"praise": "like"}))
    assert words == {
        "/body/praise": "Instagram lets nobody like comments by program: choose answer or leave."
    }
    page = world.us.account(Platform.MESSENGER)
    assert (await world.put(path(page), {"praise": "like"})).json()["praise"] == "like"


async def test_a_number_has_no_comments(world):
    number = world.us.account(Platform.WHATSAPP)
    for response in (await world.get(path(number)), await world.put(path(number), {})):
        assert response.status_code == 409
        assert response.json()["type"] == "urn:socialsync:problem:no-comments"


async def test_tenants_never_meet(world, account):
    for response in (
        await world.get(path(account), world.them),
        await world.put(path(account), {}, world.them),
    ):
        assert response.status_code == 404
    assert (await world.get(f"/api/v1/accounts/{uuid4()}/comment-policy")).status_code == 404
