"""Every error is a problem, and the API documents all of them."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, HTTPException, Query
from psycopg_pool import PoolTimeout

from socialsync_gateway.api import api_router
from socialsync_gateway.auth import AuthSettings
from socialsync_gateway.health import health_router
from socialsync_gateway.problems import MEDIA_TYPE, ProblemError, install_problem_handlers

ERRORS: dict[str, Exception] = {
    "http": HTTPException(418, "Short and stout."),
    "problem": ProblemError(409, "Not now.", kind="busy", headers={"X-Note": "later"}),
    "pool": PoolTimeout("internals"),
    "postgres": psycopg.OperationalError("internals of host 10.0.0.1"),
    "bug": ValueError("internals"),
}


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @app.get("/numbers")
    async def numbers(first: int, second: Annotated[int, Query(le=3)]) -> None: ...

    return app


async def get(app: FastAPI, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/raise/http", 418, "about:blank"),
        ("/raise/problem", 409, "urn:socialsync:problem:busy"),
        ("/raise/pool", 503, "urn:socialsync:problem:unavailable"),
        ("/raise/postgres", 503, "urn:socialsync:problem:unavailable"),
        ("/raise/bug", 500, "about:blank"),
        ("/nowhere", 404, "about:blank"),
    ],
)
async def test_errors_are_problems(app: FastAPI, path: str, status: int, kind: str):
    response = await get(app, path)
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    content = response.json()
    assert (content["status"], content["type"]) == (status, kind)
    assert content["title"]
    assert content["detail"]
    assert "internals" not in response.text


async def test_headers_come_along(app: FastAPI):
    assert (await get(app, "/raise/problem")).headers["x-note"] == "later"
    assert (await get(app, "/raise/pool")).headers["retry-after"] == "5"
    refused = await get(app, "/numbers", "DELETE")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET"
    assert refused.headers["content-type"] == MEDIA_TYPE


async def test_all_faults_are_listed(app: FastAPI):
    response = await get(app, "/numbers?second=5")
    assert response.status_code == 422
    errors = response.json()["errors"]
    assert [fault["pointer"] for fault in errors] == ["/query/first", "/query/second"]
    assert all(fault["detail"] for fault in errors)


@pytest.fixture
def documented() -> dict[str, Any]:
    app = FastAPI()
    app.include_router(health_router())
    app.include_router(api_router(AuthSettings()))
    return app.openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_api_is_documented(documented: dict[str, Any]):
    found = operations(documented)
    assert {name: operation["operationId"] for name, operation in found.items()} == {
        "get /healthz": "healthz",
        "get /readyz": "readyz",
        "get /api/v1/accounts": "listAccounts",
        "get /api/v1/usage": "getUsage",
        "get /api/v1/conversations": "listConversations",
        "get /api/v1/conversations/{conversation_id}/messages": "listMessages",
        "post /api/v1/conversations/{conversation_id}/messages": "answerConversation",
        "post /api/v1/conversations/{conversation_id}/handoff": "handOffConversation",
        "post /api/v1/sends/{send_id}/resolve": "resolveSend",
        "post /api/v1/accounts": "connectNumber",
        "get /api/v1/notices": "listNotices",
        "post /api/v1/notices/{notice_id}/resolve": "resolveNotice",
        "get /api/v1/media": "listMedia",
        "post /api/v1/media": "uploadMedia",
        "get /api/v1/media/{media_id}": "getMedia",
        "delete /api/v1/media/{media_id}": "deleteMedia",
        "get /api/v1/posts": "listPosts",
        "post /api/v1/posts": "createPost",
        "get /api/v1/posts/calendar": "getCalendar",
        "get /api/v1/posts/{post_id}": "getPost",
        "patch /api/v1/posts/{post_id}": "changePost",
        "post /api/v1/posts/{post_id}/cancel": "cancelPost",
        "post /api/v1/posts/{post_id}/targets/{target_id}/decision": "decideTarget",
        "get /api/v1/comments": "listComments",
        "get /api/v1/comments/{comment_id}": "getComment",
        "post /api/v1/comments/{comment_id}/approve": "approveComment",
        "post /api/v1/comments/{comment_id}/answer": "answerComment",
        "post /api/v1/comments/{comment_id}/dismiss": "dismissComment",
        "post /api/v1/comments/{comment_id}/hide": "hideComment",
        "get /api/v1/monitored-posts": "listMonitoredPosts",
        "post /api/v1/monitored-posts": "monitorPost",
        "patch /api/v1/monitored-posts/{post_id}": "changeMonitoredPost",
        "get /api/v1/accounts/{account_id}/comment-policy": "getCommentPolicy",
        "put /api/v1/accounts/{account_id}/comment-policy": "setCommentPolicy",
    }
    assert all(operation["tags"] and operation["summary"] for operation in found.values())


def test_each_route_documents_its_problems(documented: dict[str, Any]):
    for name, operation in operations(documented).items():
        responses = operation["responses"]
        if "/api/" in name:
            assert {"401", "403", "422", "503"} <= set(responses), name
            assert operation["security"] == [{"Bearer": []}]
        for status, response in responses.items():
            if int(status) >= 400:
                assert list(response["content"]) == [MEDIA_TYPE], (name, status)
    assert "HTTPValidationError" not in documented["components"]["schemas"]
    answer = operations(documented)["post /api/v1/conversations/{conversation_id}/messages"]
    assert {"202", "404", "409", "413"} <= set(answer["responses"])
