"""The parts of one sandbox, as its endpoints reach them."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from socialsync_sandbox.accounts import Accounts, Subscriptions
from socialsync_sandbox.behaviour import Model
from socialsync_sandbox.comments.state import Comments
from socialsync_sandbox.deliveries import Deliveries
from socialsync_sandbox.logins import Logins
from socialsync_sandbox.objects import Objects
from socialsync_sandbox.publishing.state import Posts
from socialsync_sandbox.state import State
from socialsync_sandbox.tokens import Tokens


@dataclass(slots=True)
class Sandbox:
    deliveries: Deliveries
    posts: Posts
    app_secret: bytes
    status_webhooks: bool = True
    state: State = field(default_factory=State)
    model: Model = field(default_factory=Model)
    tokens: Tokens = field(default_factory=Tokens)
    accounts: Accounts = field(default_factory=Accounts)
    logins: Logins = field(default_factory=Logins)
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    objects: Objects = field(default_factory=Objects)
    comments: Comments = field(init=False)

    def __post_init__(self) -> None:
        self.comments = Comments(self.posts)

    async def clear(self) -> None:
        self.state.clear()
        self.model.reset()
        self.posts.clear()
        self.comments.clear()
        self.tokens.clear()
        self.accounts.clear()
        self.logins.clear()
        self.subscriptions.clear()
        self.objects.clear()
        await self.deliveries.clear()

    async def close(self) -> None:
        await self.posts.close()
        await self.deliveries.close()

    def me(self, token: str, contact: str | None = None) -> str | None:
        """Whom ``/me`` means: the token's account, else whom the contact wrote to, else the only one."""
        return self.tokens.account_of(token) or self.state.me(contact)


def sandbox_of(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox
