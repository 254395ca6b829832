"""Takes one target as far as it goes: containers, then its second, then what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from socialsync_common import notices
from socialsync_common.accounts import Account, load_account, stop_account
from socialsync_common.contracts import NoticeKind, Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Connection, Database
from socialsync_common.errors import AuthenticationExpired, PermanentError, SocialSyncError
from socialsync_common.leases import Leases
from socialsync_common.media_urls import MediaUrls
from socialsync_common.platforms.publishing import Channel, Draft, DraftMedia, NotReady, Publisher
from socialsync_scheduler.publishing import decide, repository
from socialsync_scheduler.publishing.finish import finish
from socialsync_scheduler.publishing.launches import Launches, Ready
from socialsync_scheduler.publishing.schemas import (
    LEASE_SECONDS,
    Again,
    Ask,
    Closed,
    Confirm,
    Create,
    Fail,
    Finish,
    Launch,
    Poll,
    Reconcile,
    Target,
    Verdict,
    Wait,
)

log = structlog.get_logger()

Announce = Callable[[list[tuple[UUID, UUID]]], None]


@dataclass(frozen=True, slots=True)
class Work:
    """A target under this process's lease."""

    target: Target
    account: Account
    publisher: Publisher
    draft: Draft

    @property
    def channel(self) -> Channel:
        return channel_of(self.account)


class Publishing:
    """Thread-safe; shared by all slots of a worker. ``announce`` sends a task for each (tenant, target)."""

    def __init__(
        self,
        database: Database,
        cipher: TokenCipher,
        publishers: dict[Platform, Publisher],
        media_urls: MediaUrls,
        *,
        grace: timedelta,
        announce: Announce,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._publishers = publishers
        self._media_urls = media_urls
        self._grace = grace
        self._announce = announce
        self._clock = clock
        self.leases = Leases(database, repository.renew, LEASE_SECONDS, "post-leases")
        self._launches = Launches(
            database,
            self.leases,
            call=self._call,
            failed=self._on_publish_error,
            published=announce,
            clock=clock,
        )

    def start(self) -> None:
        self.leases.start()
        self._launches.start()

    def drain(self) -> None:
        """This process is on its way out: others take over what waits for its second."""
        left = self._launches.drain()
        if left:
            log.info("posts given back", posts=len(left))
            self._announce([(ready.target.tenant_id, ready.target.id) for ready in left])

    def close(self) -> None:
        """Ends when every call that was begun is answered and recorded."""
        self.drain()
        self._launches.close()
        self.leases.stop()

    def hand_over(self, max_rows: int, wait_seconds: float) -> int:
        """Send a task for each target that wants a worker; returns how many."""
        with self._database.transaction(wait_seconds=wait_seconds) as connection:
            targets = repository.hand_over(connection, self._grace, max_rows)
        self._announce(targets)
        return len(targets)

    def publish(self, tenant: UUID, target_id: UUID) -> str:
        """Returns what was done last, for the log."""
        if self._launches.is_closing:
            # this process still fetches tasks for a moment, what it has just given back among them
            self._announce([(tenant, target_id)])
            return "left to another worker"
        since = self.leases.now()
        with self._database.transaction(tenant) as connection:
            target = repository.take(connection, target_id, uuid4())
            if target is None:
                return "not to be taken"
            try:
                account = load_account(connection, self._cipher, target.account_id)
            except PermanentError as error:
                self._put_off(connection, target, str(error))
                return "token unreadable"
        self.leases.hold(target, since)
        keep = False
        try:
            keep = self._advance(target, account)
        finally:
            if not keep:
                self.leases.drop(target)
        return "waits for its second" if keep else "done"

    def _put_off(self, connection: Connection, target: Target, reason: str) -> None:
        """Its account's token cannot be opened here: it waits, as for an account that must be reconnected."""
        now = self._clock()
        step = decide.next_step(target, now, account_active=False, grace=self._grace, pieces=0)
        account = repository.load_sealed(connection, target.account_id)
        log.error("post waits", target=str(target.id), reason=reason)
        if isinstance(step, Ask | Closed):
            self._write(connection, target, account, step)
        else:
            repository.release(connection, [target], now + decide.RETRY_PAUSE, reason)

    def _advance(self, target: Target, account: Account) -> bool:
        """True where the launches have it now, and its lease goes on."""
        publisher = self._publishers.get(account.platform)
        if publisher is None:
            return self._apply(target, account, Fail(f"{account.platform} accounts publish no posts"))
        while True:
            further = self._do(Work(target, account, publisher, _draft(target)), self._clock())
            if isinstance(further, bool):
                return further
            target = further

    def _do(self, work: Work, now: datetime) -> Target | bool:
        """One step: the target as it is now, or how ``_advance`` ends."""
        step = decide.next_step(
            work.target,
            now,
            account_active=work.account.status == "active",
            grace=self._grace,
            pieces=work.publisher.pieces(work.draft),
        )
        match step:
            case Create():
                return self._create(work, now) or False
            case Poll():
                return self._poll(work, now) or False
            case Launch(at):
                return self._launch(work, at, now)
            case Reconcile():
                return self._reconcile(work, now)
            case Finish():
                return self._finish(work, now)
            case Wait() | Ask() | Closed():
                return self._apply(work.target, work.account, step)

    def _finish(self, work: Work, now: datetime) -> bool:
        try:
            finish(self._database, work.publisher, work.channel, work.target, now)
        except AuthenticationExpired as error:
            self._settle(work.target, work.account, error, decide.after_create_error)
        return False

    def _with_urls(self, target: Target, draft: Draft) -> Draft:
        """With addresses that Meta fetches the media from.

        Raises:
            ConfigError: there are none.
            PermanentError: the media cannot be published.
        """
        try:
            urls = [
                self._media_urls.url(target.tenant_id, UUID(item["id"]), item["mime_type"])
                for item in target.media
            ]
        except ValueError as error:
            raise PermanentError(str(error)) from None
        return replace(
            draft, media=tuple(replace(each, url=url) for each, url in zip(draft.media, urls, strict=True))
        )

    def _create(self, work: Work, now: datetime) -> Target | None:
        """The target with one container more; None where it goes no further now."""
        target = work.target
        if decide.is_stale(target, now):
            target = replace(target, container_ids=(), container_at=None, phase="creating")
            with self._database.transaction(target.tenant_id) as connection:
                if not repository.begin_containers(connection, target):
                    return None
        try:
            draft = self._with_urls(target, work.draft)
            container_id = work.publisher.create(work.channel, draft, target.container_ids)
        except SocialSyncError as error:
            if isinstance(error, NotReady) and target.container_ids:
                self._await_parts(work, now)
            else:
                self._settle(target, work.account, error, decide.after_create_error)
            return None
        with self._database.transaction(target.tenant_id) as connection:
            if not repository.add_container(connection, target, container_id):
                return None  # edited, cancelled or taken over: nobody sees the container
        return replace(
            target, container_ids=(*target.container_ids, container_id), phase="creating",
            container_at=target.container_at or now,
        )  # fmt: skip

    def _await_parts(self, work: Work, now: datetime) -> None:
        """The parts of a carousel are not ready: the first that is not says how long, or why never."""
        target = work.target
        try:
            container = work.publisher.look(work.channel, work.draft, target.container_ids)
        except SocialSyncError as error:
            self._settle(target, work.account, error, decide.after_look_error)
            return
        self._apply(target, work.account, decide.after_parts(target, container, now))

    def _poll(self, work: Work, now: datetime) -> Target | None:
        """The target with its containers ready; None where it goes no further now."""
        target = work.target
        try:
            container = work.publisher.look(work.channel, work.draft, target.container_ids)
        except SocialSyncError as error:
            self._settle(target, work.account, error, decide.after_look_error)
            return None
        verdict = decide.after_look(target, container, now)
        if not isinstance(verdict, Launch):
            self._apply(target, work.account, verdict)
            return None
        with self._database.transaction(target.tenant_id) as connection:
            if not repository.mark_ready(connection, target):
                return None
        return replace(target, phase="container_ready")

    def _launch(self, work: Work, at: datetime, now: datetime) -> bool:
        target = work.target
        if at - now > decide.LEAD:
            return self._apply(target, work.account, Wait(at - decide.LEAD))
        if self._launches.add(Ready(target, work.account, work.draft, at)):
            return True
        self._apply(target, work.account, Wait(now))
        self._announce([(target.tenant_id, target.id)])
        return False

    def _call(self, ready: Ready) -> str:
        publisher = self._publishers[ready.account.platform]
        return publisher.publish(channel_of(ready.account), ready.draft, ready.target.container_ids)

    def _on_publish_error(self, ready: Ready, error: SocialSyncError) -> None:
        target = replace(ready.target, publishes=ready.target.publishes + 1)
        platform = ready.account.platform

        def after(target: Target, error: SocialSyncError, now: datetime) -> Verdict:
            return decide.after_publish_error(target, platform, error, now)

        self._settle(target, ready.account, error, after, refused=True)

    def _reconcile(self, work: Work, now: datetime) -> bool:
        target, publisher = work.target, work.publisher
        try:
            container = found = None
            if publisher.is_told_by_container(work.draft):
                container = publisher.look(work.channel, work.draft, target.container_ids)
            else:
                found = self._find(work)
        except SocialSyncError as error:
            self._settle(target, work.account, error, decide.after_reconcile_error)
            return False
        verdict = decide.after_reconcile(target, container, found, now)
        if isinstance(verdict, Launch):
            return self._launch(work, verdict.at, now)
        return self._apply(target, work.account, verdict, found)

    def _find(self, work: Work) -> str | None:
        # not since the last call: an earlier one may have arrived, too
        return work.publisher.find(work.channel, work.draft, work.target.container_ids, work.target.due_at)

    def _settle(
        self,
        target: Target,
        account: Account,
        error: SocialSyncError,
        decision: Callable[[Target, SocialSyncError, datetime], Verdict],
        *,
        refused: bool = False,
    ) -> None:
        """What an error leads to. ``refused``: a publish call that was not let in has published nothing."""
        now = self._clock()
        if not isinstance(error, AuthenticationExpired):
            self._apply(target, account, decision(target, error, now))
            return
        with self._database.transaction(account.tenant_id) as connection:
            stop_account(connection, account, str(error))
        log.error("account needs reconnecting", account=str(account.id), reason=str(error))
        stopped = Again(now, decide.STOPPED, counted=False) if refused else Wait(now, decide.STOPPED)
        self._apply(target, account, stopped)

    def _apply(self, target: Target, account: Account, verdict: Verdict, media_id: str | None = None) -> bool:
        """Write a verdict down and give the lease back. False, as ``_advance`` ends with. ``media_id``: of the live
        post, where it is known."""
        if media_id is None and isinstance(verdict, Confirm):
            media_id = self._id_of_live(target, account)
        with self._database.transaction(target.tenant_id) as connection:
            self._write(connection, target, account, verdict, media_id)
        log.info(
            "post",
            target=str(target.id),
            verdict=type(verdict).__name__.lower(),
            reason=getattr(verdict, "reason", None),
        )
        return False

    def _write(
        self,
        connection: Connection,
        target: Target,
        account: Account,
        verdict: Verdict,
        media_id: str | None = None,
    ) -> None:
        match verdict:
            case Confirm():
                repository.record_published(connection, [(target.id, media_id)])
            case Closed():
                repository.finish(connection, target)
            case Wait(until, reason):
                repository.release(connection, [target], until, reason)
            case Launch(at):
                repository.release(connection, [target], at)
            case Again(at, reason, fresh, counted):
                repository.record_again(connection, target, at, reason, fresh=fresh, counted=counted)
            case Fail(reason):
                if repository.record_failed(connection, target, reason):
                    _tell(connection, target, account, NoticeKind.POST_FAILED, f"was not published: {reason}")
            case Ask(reason, missed):
                kind = NoticeKind.POST_MISSED if missed else NoticeKind.POST_NEEDS_CHECK
                if repository.record_needs_check(connection, target, reason):
                    _tell(connection, target, account, kind, f"has to be checked: {reason}")

    def _id_of_live(self, target: Target, account: Account) -> str | None:
        """The platform's id of a post that is live, where it can be told."""
        publisher = self._publishers[account.platform]
        try:
            return self._find(Work(target, account, publisher, _draft(target)))
        except SocialSyncError as error:
            log.warning("post is live, its id is not known", target=str(target.id), reason=str(error))
            return None


def _draft(target: Target) -> Draft:
    """What does not change; the addresses of the media do."""
    media = tuple(
        DraftMedia(url="", is_video=item["kind"] == "video", alt_text=item["alt_text"])
        for item in target.media
    )
    return Draft(target.kind, target.text, media)


def channel_of(account: Account) -> Channel:
    return Channel(account.platform, account.external_id, account.token)


def _tell(connection: Connection, target: Target, account: Account, kind: NoticeKind, what: str) -> None:
    notices.tell(
        connection,
        target.tenant_id,
        kind,
        f"The post for {account.name} ({account.platform}), due {target.due_at:%Y-%m-%d %H:%M} UTC, {what}",
        key=f"{target.id}:{target.due_at.timestamp()}:{target.publishes}",
        account_id=target.account_id,
        post_id=target.post_id,
    )
