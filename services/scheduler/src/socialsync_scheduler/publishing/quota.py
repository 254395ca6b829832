"""Before posts are due: is there quota left, and will the token still be accepted?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from socialsync_common import notices
from socialsync_common.accounts import Account, how_to_reconnect, load_account, stop_account
from socialsync_common.contracts import NoticeKind, Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Database
from socialsync_common.errors import AuthenticationExpired, SocialSyncError
from socialsync_common.platforms.publishing import Publisher, Quota
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.publish import channel_of

log = structlog.get_logger()

DAY = timedelta(hours=24)


def check_quota(
    database: Database,
    cipher: TokenCipher,
    publishers: dict[Platform, Publisher],
    tenant: UUID,
    account_id: UUID,
    now: datetime,
) -> int:
    """Read an account's quota and say what may keep its next posts from going out; returns how many that are."""
    with database.transaction(tenant) as connection:
        account = load_account(connection, cipher, account_id)
    publisher = publishers.get(account.platform)
    quota = None
    if publisher is not None and account.status == "active":
        try:
            quota = publisher.quota(channel_of(account))
        except AuthenticationExpired as error:
            with database.transaction(tenant) as connection:
                stop_account(connection, account, str(error))
                account = load_account(connection, cipher, account_id)
        except SocialSyncError as error:
            log.warning("quota not read", account=str(account_id), reason=str(error))
    with database.transaction(tenant) as connection:
        if quota is not None:
            repository.save_quota(connection, account_id, quota.used, quota.total)
        ahead = repository.posts_ahead(connection, account_id, now + DAY)
        warnings = foresee(account, quota, ahead)
        repository.warn(connection, warnings)
        count = sum(warning is not None for _, warning in warnings)
        if quota is not None and len(ahead) > quota.total - quota.used:
            notices.tell(
                connection,
                tenant,
                NoticeKind.QUOTA_LOW,
                f"{account.name} ({account.platform}) may publish {max(quota.total - quota.used, 0)} more posts within "
                f"24 hours, and {len(ahead)} are scheduled: move some of them.",
                key=f"{account_id}:{now:%Y-%m-%d}",
                account_id=account_id,
            )
    return count


def foresee(
    account: Account, quota: Quota | None, ahead: Sequence[tuple[UUID, datetime]]
) -> list[tuple[UUID, str | None]]:
    """A warning, or none, for each post ahead, first one first."""
    left = None if quota is None else max(quota.total - quota.used, 0)
    return [(target, _warning(account, left, place, due_at)) for place, (target, due_at) in enumerate(ahead)]


def _warning(account: Account, left: int | None, place: int, due_at: datetime) -> str | None:
    if account.status != "active":
        return f"The account must be reconnected first. {how_to_reconnect(account.platform)}"
    if account.token_expires_at is not None and account.token_expires_at < due_at:
        return f"The account's access ends before this post is due. {how_to_reconnect(account.platform)}"
    if left is not None and place >= left:
        return (
            f"The platform takes {left} more posts of this account within 24 hours: move this one to later."
        )
    return None
