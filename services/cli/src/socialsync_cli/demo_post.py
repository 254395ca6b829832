"""The demo's second part: a post that is due in a few seconds, published by the scheduler."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from socialsync_cli.demo import ACCOUNTS
from socialsync_cli.gateway import GatewayClient
from socialsync_cli.sandbox import Published, SandboxClient
from socialsync_common.contracts import Platform
from socialsync_common.errors import SocialSyncError

DUE_SECONDS = 5
_PATIENCE_SECONDS = 40.0
_TEXT = "Fresh from the oven: our rye bread, from seven in the morning. #{number}"


@dataclass(frozen=True, slots=True)
class PostPlayed:
    """A scheduled post and what came of it. Times in UTC."""

    text: str
    made_at: datetime
    due_at: datetime
    live: list[Published]

    @property
    def fault(self) -> str | None:
        """Why this is not one post, published once."""
        if not self.live:
            return f"the post was not live {_PATIENCE_SECONDS:.0f} s after it was scheduled"
        return f"the post was published {len(self.live)} times" if len(self.live) > 1 else None


def play(sandbox: SandboxClient, gateway: GatewayClient) -> PostPlayed:
    """Schedule a picture for Instagram, as any client of the API would, and wait until people see it.

    Raises:
        SocialSyncError: the gateway or the sandbox refuses.
    """
    picture = resources.files("socialsync_cli").joinpath("bread.jpg").read_bytes()
    media = gateway.ask("POST", "/media", content=picture, headers={"Content-Type": "image/jpeg"})
    account = gateway.account_id(ACCOUNTS[Platform.INSTAGRAM])
    made_at = datetime.now(UTC)
    due_at = (made_at + timedelta(seconds=DUE_SECONDS + 0.5)).replace(microsecond=0)
    text = _TEXT.format(number=secrets.token_hex(3))
    gateway.ask(
        "POST", "/posts",
        headers={"Idempotency-Key": secrets.token_hex(16)},
        json={
            "kind": "image",
            "text": text,
            "media": [{"id": media["id"], "alt_text": "A loaf of rye bread"}],
            "accounts": [account],
            "due_at": due_at.isoformat(),
            "zone": "UTC",
        },
    )  # fmt: skip
    live = sandbox.published(ACCOUNTS[Platform.INSTAGRAM], text, _PATIENCE_SECONDS)
    return PostPlayed(text, made_at, due_at, live)


def check(played: PostPlayed) -> None:
    """Raises SocialSyncError where the post is not live exactly once."""
    if played.fault:
        raise SocialSyncError(f"the demo failed: {played.fault}; the logs say more")


def story(played: PostPlayed) -> Panel:
    """The post, when it was due and when it went live."""
    lines = [
        Text.assemble(("   due  ", "dim"), f"{played.due_at:%H:%M:%S} UTC"),
        *(
            Text.assemble(
                ("  live  ", "dim"),
                (f"{datetime.fromtimestamp(one.at, UTC):%H:%M:%S} UTC", "green"),
                f"  {one.permalink}",
            )
            for one in played.live
        ),
        Text(f"\n{played.text}\n"),
        Text(_summary(played), "bold red" if played.fault else "dim"),
    ]
    return Panel(
        Group(*lines),
        title="Instagram · Rosemary bakery",
        title_align="left",
        expand=False,
        padding=(1, 2),
    )


def _summary(played: PostPlayed) -> str:
    if played.fault:
        return played.fault
    late = played.live[0].at - played.due_at.timestamp()
    return f"scheduled {(played.due_at - played.made_at).total_seconds():.1f} s ahead, published once, {1000 * late:.0f} ms after it was due"
