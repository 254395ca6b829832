"""The demo: a small bakery with an account on each platform, and one conversation with it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import httpx
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from socialsync_cli import tenants
from socialsync_cli.console import TITLES
from socialsync_cli.folder import API_KEY, DataFolder
from socialsync_cli.sandbox import SandboxClient, Sent
from socialsync_common.contracts import Platform
from socialsync_common.errors import SocialSyncError
from socialsync_common.settings import BatchSettings, load

TENANT = "Demo Bakery"
ACCOUNTS = {
    Platform.WHATSAPP: "109000000000001",
    Platform.INSTAGRAM: "17841400000000001",
    Platform.MESSENGER: "108000000000001",
}
BUSINESS_ACCOUNT = "102000000000001"  # WhatsApp's, which the number belongs to
INSTRUCTIONS = """\
You answer for Rosemary, a small bakery with a shop at 12 Mill Lane.
Opening hours: we are open Tuesday to Saturday from 7:00 to 18:00, Sunday from 8:00 to 12:00. We are closed on Monday.
Delivery: we deliver within 5 km, Tuesday to Sunday, for orders over 20 euros. Delivery costs 3 euros. Order by 16:00 the day before.
Prices: a sourdough loaf costs 4.50 euros, a croissant 1.80 euros, a birthday cake from 32 euros.
Cakes: order birthday cakes three days ahead; we write a name on them at no charge.
Allergens: everything is baked in one kitchen with wheat, milk, eggs, nuts and sesame. Our rye bread has no milk and no eggs. We have no gluten-free products.
Payment: cash, cards and bank transfer.
For complaints and orders over 200 euros a person of the team takes over.
"""
BURST = ("Hi! Are you open on Sunday?", "And do you deliver then?")

_BETWEEN_SECONDS = 0.5
_REPLY_SECONDS = 40.0
_SECOND_REPLY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Played:
    """One burst and what came of it. Times in Unix seconds."""

    said: list[tuple[float, str]]
    stored_at: float  # the gateway has the last message
    replies: list[Sent]

    @property
    def fault(self) -> str | None:
        """Why this is not one burst with one reply."""
        if not self.replies:
            return f"no reply came within {_REPLY_SECONDS:.0f} s"
        if len(self.replies) > 1:
            return f"{len(self.replies)} replies came for one burst"
        return None


def token_of(platform: Platform) -> str:
    return f"demo-token-{platform}"


def set_up(folder: DataFolder, sandbox: SandboxClient | None, gateway_url: str) -> str:
    """Connect the bakery's accounts; returns an API key of it, the one of earlier runs where it still works."""
    with tenants.connection() as opened:
        for platform, external_id in ACCOUNTS.items():
            tenants.connect(
                opened,
                tenant=TENANT,
                platform=platform,
                external_id=external_id,
                name=f"Rosemary on {TITLES[platform]}",
                token=token_of(platform),
                instructions=INSTRUCTIONS,
            )
    if sandbox is not None:
        for platform, external_id in ACCOUNTS.items():
            business = BUSINESS_ACCOUNT if platform is Platform.WHATSAPP else None
            sandbox.connect(platform, external_id, token_of(platform), business)
    known = folder.read_secrets().get(API_KEY)
    if known and _is_valid(known, gateway_url):
        return known
    with tenants.connection() as opened:
        key = tenants.new_api_key(opened, TENANT, "socialsync run")
    folder.remember({API_KEY: key})
    return key


def _is_valid(key: str, gateway_url: str) -> bool:
    try:
        answer = httpx.get(
            f"{gateway_url}/api/v1/accounts",
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
            trust_env=False,
        )
    except httpx.TransportError:
        return False
    return answer.is_success


def play(sandbox: SandboxClient) -> Played:
    """A new contact writes twice in a burst; waits for the reply, and then whether another one comes."""
    contact = f"4917{secrets.randbelow(10**8):08}"
    account = ACCOUNTS[Platform.WHATSAPP]
    before = sandbox.last_seq()
    said = []
    for place, text in enumerate(BURST):
        if place:
            time.sleep(_BETWEEN_SECONDS)  # a person types
        said.append((time.time(), text))
        sandbox.say(Platform.WHATSAPP, account, contact, text, name="Ada")
    stored_at = time.time()
    replies = sandbox.sent(contact, after=before, wait=_REPLY_SECONDS)
    if replies:
        replies += sandbox.sent(contact, after=replies[-1].seq, wait=_SECOND_REPLY_SECONDS)
    return Played(said, stored_at, replies)


def check(played: Played) -> None:
    """Raises SocialSyncError where not exactly one reply came."""
    if played.fault:
        raise SocialSyncError(f"the demo failed: {played.fault}; the logs say more")


def conversation(played: Played) -> Panel:
    """The messages and the reply, with seconds since the first message."""
    start = played.said[0][0]
    lines = [_line(at - start, "Ada", text, "cyan") for at, text in played.said]
    lines += [_line(reply.at - start, "SocialSync", reply.text, "green") for reply in played.replies]
    lines.append(Text())
    lines.append(Text(_summary(played), "bold red" if played.fault else "dim"))
    return Panel(
        Group(*lines), title="WhatsApp · Rosemary bakery", title_align="left", expand=False, padding=(1, 2)
    )


def _line(seconds: float, who: str, text: str, colour: str) -> Text:
    return Text.assemble((f"{seconds:6.2f} s  ", "dim"), (f"{who:>10}  ", f"bold {colour}"), text)


def _summary(played: Played) -> str:
    if played.fault:
        return played.fault
    waited = played.replies[0].at - played.said[-1][0]
    window = load(BatchSettings).batch_window_seconds
    return f"{len(played.said)} messages, one reply, {waited:.2f} s after the last one ({window:g} s of it the window)"
