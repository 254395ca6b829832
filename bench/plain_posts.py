"""Scheduled posts as people write them today: one Celery task for each, sent with the time at which it is due.

The task makes the container, asks whether it is ready, and publishes it. It tells nobody how far it came.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import httpx
from celery import Celery

app = Celery("plain_posts", broker=os.environ.get("CELERY_BROKER_URL"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@cache
def _http() -> httpx.Client:
    return httpx.Client(
        base_url=os.environ["PLAIN_GRAPH_URL"], limits=httpx.Limits(max_connections=200), timeout=30
    )


@app.task(name="plain_posts.publish")
def publish(account: str, token: str, picture: str, text: str) -> None:
    """One post, from its container to its publication."""

    def ask(method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return _http().request(method, f"/v24.0/{path}", headers=headers, **options).raise_for_status().json()

    container = ask("POST", f"{account}/media", json={"image_url": picture, "caption": text})["id"]
    while ask("GET", container, params={"fields": "status_code"})["status_code"] == "IN_PROGRESS":
        time.sleep(1)
    ask("POST", f"{account}/media_publish", json={"creation_id": container})
