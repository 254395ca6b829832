"""The plain design, to compare with: what one writes first with FastAPI, Celery and Redis. Nothing imports it.

A webhook costs one transaction a message, and a tick answers what is due inside itself. It keeps no promise
about what is lost or said twice.

    uvicorn plain:api            webhooks
    celery -A plain worker       ticks, and the replies in them
    celery -A plain beat

Environment: PLAIN_DATABASE_URL, PLAIN_REDIS_URL, PLAIN_GRAPH_URL, PLAIN_AI_URL, PLAIN_APP_SECRET.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import openai
import psycopg
import redis
import redis.asyncio
from celery import Celery
from fastapi import FastAPI, HTTPException, Request
from psycopg_pool import AsyncConnectionPool, ConnectionPool

WINDOW_SECONDS = 2.0
TICK_SECONDS = 0.5
WEB_CONNECTIONS = 16
DEADLINES = "deadlines"

SCHEMA = """
CREATE TABLE accounts (id bigserial PRIMARY KEY, tenant_id bigint NOT NULL, phone_number_id text NOT NULL UNIQUE,
                       token text NOT NULL);
CREATE TABLE contacts (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, wa_id text NOT NULL,
                       name text, UNIQUE (account_id, wa_id));
CREATE TABLE conversations (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts,
                            contact_id bigint NOT NULL UNIQUE REFERENCES contacts,
                            last_message_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE messages (id bigserial PRIMARY KEY, conversation_id bigint NOT NULL REFERENCES conversations,
                       platform_id text NOT NULL UNIQUE, direction text NOT NULL, text text, raw jsonb,
                       answered boolean NOT NULL DEFAULT false, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX messages_conversation ON messages (conversation_id, id);
"""


def create_schema(url: str, accounts: list[str]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)
        for tenant, account in enumerate(accounts):
            connection.execute(
                "INSERT INTO accounts (tenant_id, phone_number_id, token) VALUES (%s, %s, %s)",
                (tenant, account, f"token-{account}"),
            )


# Webhooks -------------------------------------------------------------------------------------------


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.secret = os.environ["PLAIN_APP_SECRET"].encode()
    app.state.redis = redis.asyncio.Redis.from_url(os.environ["PLAIN_REDIS_URL"])
    app.state.pool = AsyncConnectionPool(
        os.environ["PLAIN_DATABASE_URL"], min_size=WEB_CONNECTIONS, max_size=WEB_CONNECTIONS, open=False
    )
    await app.state.pool.open(wait=True)
    yield
    await app.state.pool.close()
    await app.state.redis.aclose()


api = FastAPI(lifespan=_lifespan)


@api.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


@api.post("/api/whatsapp/webhook")
async def webhook(request: Request) -> dict[str, str]:
    body = await request.body()
    expected = "sha256=" + hmac.new(request.app.state.secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(request.headers.get("x-hub-signature-256", ""), expected):
        raise HTTPException(401)
    for entry in json.loads(body)["entry"]:
        for change in entry["changes"]:
            value = change["value"]
            names = {one["wa_id"]: one["profile"]["name"] for one in value.get("contacts", [])}
            for message in value.get("messages", []):
                account = value["metadata"]["phone_number_id"]
                await _store(request.app, account, message, names.get(message["from"]))
    return {"status": "ok"}


async def _store(app: FastAPI, phone_number_id: str, message: dict[str, Any], name: str | None) -> None:
    async with app.state.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT id FROM accounts WHERE phone_number_id = %s", (phone_number_id,)
        )
        account = await cursor.fetchone()
        if account is None:
            return
        cursor = await connection.execute(
            "INSERT INTO contacts (account_id, wa_id, name) VALUES (%s, %s, %s)"
            " ON CONFLICT (account_id, wa_id) DO UPDATE SET name = EXCLUDED.name RETURNING id",
            (account[0], message["from"], name),
        )
        contact = await cursor.fetchone()
        cursor = await connection.execute(
            "INSERT INTO conversations (account_id, contact_id) VALUES (%s, %s)"
            " ON CONFLICT (contact_id) DO UPDATE SET last_message_at = now() RETURNING id",
            (account[0], contact[0]),
        )
        conversation = (await cursor.fetchone())[0]
        cursor = await connection.execute(
            "INSERT INTO messages (conversation_id, platform_id, direction, text, raw)"
            " VALUES (%s, %s, 'in', %s, %s) ON CONFLICT (platform_id) DO NOTHING RETURNING id",
            (conversation, message["id"], message["text"]["body"], json.dumps(message)),
        )
        stored = await cursor.fetchone()
    if stored:
        await app.state.redis.rpush(f"conversation:{conversation}:messages", stored[0])
        await app.state.redis.zadd(DEADLINES, {str(conversation): time.time() + WINDOW_SECONDS})


# Replies --------------------------------------------------------------------------------------------

app = Celery("plain", broker=os.environ.get("PLAIN_REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    beat_schedule={"scan": {"task": "plain.scan", "schedule": TICK_SECONDS}},
)


@cache
def _pool() -> ConnectionPool:
    return ConnectionPool(os.environ["PLAIN_DATABASE_URL"], min_size=1, max_size=8, open=True)


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(os.environ["PLAIN_REDIS_URL"])


@cache
def _http() -> httpx.Client:
    return httpx.Client(base_url=os.environ["PLAIN_GRAPH_URL"], limits=httpx.Limits(max_connections=200))


@cache
def _ai() -> openai.OpenAI:
    return openai.OpenAI(base_url=os.environ["PLAIN_AI_URL"], api_key="none")


@app.task(name="plain.scan")
def scan() -> None:
    """Answer everything that is due, one conversation after the other."""
    due: Any = _redis().zrangebyscore(DEADLINES, "-inf", time.time())
    for name in due:
        if _redis().zrem(DEADLINES, name):
            _redis().delete(f"conversation:{name.decode()}:messages")
            _answer(int(name))


def _answer(conversation: int) -> None:
    with _pool().connection() as connection:
        account, token, wa_id = connection.execute(
            "SELECT a.phone_number_id, a.token, k.wa_id FROM conversations c JOIN accounts a ON a.id = c.account_id"
            " JOIN contacts k ON k.id = c.contact_id WHERE c.id = %s",
            (conversation,),
        ).fetchone()  # type: ignore[misc]
        rows = connection.execute(
            "SELECT id, direction, text FROM messages WHERE conversation_id = %s ORDER BY id DESC LIMIT 20",
            (conversation,),
        ).fetchall()[::-1]
    messages: Any = [
        {"role": "user" if direction == "in" else "assistant", "content": text} for _, direction, text in rows
    ]
    answer = _ai().chat.completions.create(model="sandbox", messages=messages)
    text = answer.choices[0].message.content
    response = _http().post(
        f"/v24.0/{account}/messages",
        headers={"Authorization": f"Bearer {token}"},
        json={"messaging_product": "whatsapp", "to": wa_id, "type": "text", "text": {"body": text}},
    )
    response.raise_for_status()
    with _pool().connection() as connection:
        connection.execute(
            "UPDATE messages SET answered = true WHERE id = ANY (%s)", ([row[0] for row in rows],)
        )
        connection.execute(
            "INSERT INTO messages (conversation_id, platform_id, direction, text, answered)"
            " VALUES (%s, %s, 'out', %s, true)",
            (conversation, response.json()["messages"][0]["id"], text),
        )
