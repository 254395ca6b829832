"""The accounts that were added, what they are called, and whose webhooks are subscribed to."""

from __future__ import annotations

from dataclasses import dataclass, field

from socialsync_common.contracts import Platform


@dataclass(slots=True)
class Account:
    """``business_account_id``: a WhatsApp number's Business Account."""

    platform: Platform
    id: str
    name: str
    business_account_id: str | None = None


@dataclass(slots=True)
class Accounts:
    by_id: dict[str, Account] = field(default_factory=dict)
    business_account_ids: set[str] = field(default_factory=set)

    def clear(self) -> None:
        self.by_id.clear()
        self.business_account_ids.clear()

    def add(
        self,
        platform: Platform,
        account_id: str,
        name: str | None = None,
        business_account_id: str | None = None,
    ) -> None:
        """What is not said stays as it was."""
        known = self.by_id.get(account_id)
        if known is None or known.platform is not platform:
            known = self.by_id[account_id] = Account(
                platform, account_id, _default_name(platform, account_id)
            )
        known.name = name or known.name
        if business_account_id and platform is Platform.WHATSAPP:
            known.business_account_id = business_account_id
            self.business_account_ids.add(business_account_id)

    def of(self, platform: Platform) -> list[Account]:
        return [account for account in self.by_id.values() if account.platform is platform]

    def name_of(self, platform: Platform, account_id: str) -> str:
        known = self.by_id.get(account_id)
        return known.name if known else _default_name(platform, account_id)


@dataclass(slots=True)
class Subscriptions:
    """The fields of each node: an Instagram account, a Page, or a WhatsApp Business Account, which has none."""

    fields_of: dict[str, list[str]] = field(default_factory=dict)

    def clear(self) -> None:
        self.fields_of.clear()


def _default_name(platform: Platform, account_id: str) -> str:
    return f"sandbox.{account_id}" if platform is Platform.INSTAGRAM else f"Sandbox {account_id}"
