"""``socialsync queues``: what waits, what runs, who is due."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis
from rich.table import Table

from socialsync_common.batches import DEADLINES, LEASES
from socialsync_common.celery_app import KEY_PREFIX
from socialsync_common.contracts import Lane
from socialsync_common.errors import ConfigError
from socialsync_common.settings import BrokerSettings, load


@dataclass(frozen=True, slots=True)
class Queues:
    """Tasks waiting by lane, tasks running by deployment, conversations by state."""

    depth: dict[str, int]
    in_flight: dict[str, int]
    conversations: dict[str, int]

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("QUEUE")
        table.add_column("WAITING", justify="right")
        table.add_column("IN FLIGHT", justify="right")
        for lane, depth in self.depth.items():
            # in flight is counted for a deployment: shown once, beside its work lane
            in_flight = None if Lane(lane).is_tick else self.in_flight.get(Lane(lane).queue)
            table.add_row(lane, str(depth), "" if in_flight is None else str(in_flight))
        table.add_section()
        for state, count in self.conversations.items():
            table.add_row(f"conversations {state}", str(count), "")
        return table


def read_queues() -> Queues:
    """One round trip to the Redis of ``CELERY_BROKER_URL``.

    Raises:
        ConfigError: it is not set, or nobody answers there.
    """
    url = load(BrokerSettings).redis_url
    deployments = list(dict.fromkeys(lane.queue for lane in Lane))
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            batch = client.pipeline(transaction=False)
            for lane in Lane:
                batch.llen(f"{KEY_PREFIX}{lane}")
            for deployment in deployments:
                batch.hlen(f"{KEY_PREFIX}unacked:{deployment}")
            batch.zcard(DEADLINES).zcount(DEADLINES, "-inf", time.time() * 1000).zcard(LEASES)
            counts = [int(count) for count in batch.execute()]
    except redis.RedisError as error:
        where = urlsplit(url)
        raise ConfigError(
            f"CELERY_BROKER_URL: no Redis at {where.hostname or where.path}:{where.port or ''}: {error}"
        ) from None
    lanes, rest = counts[: len(Lane)], counts[len(Lane) :]
    return Queues(
        dict(zip((str(lane) for lane in Lane), lanes, strict=True)),
        dict(zip(deployments, rest[: len(deployments)], strict=True)),
        dict(zip(("open", "due", "leased"), rest[len(deployments) :], strict=True)),
    )
