"""Names on the wire: platforms, lanes, tasks, webhook items. Services meet only here; tasks are sent by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Platform(StrEnum):
    WHATSAPP = "whatsapp"
    INSTAGRAM = "instagram"
    MESSENGER = "messenger"


class Lane(StrEnum):
    """A Celery queue. Work never shares a slot with its tick lane."""

    INGEST_TICK = "ingest.tick"
    INGEST = "ingest"
    DOCUMENTS = "ingest.documents"
    SCHEDULER_TICK = "scheduler.tick"
    SCHEDULER = "scheduler"
    COMMENTS_TICK = "comments.tick"
    COMMENTS = "comments"

    @property
    def is_tick(self) -> bool:
        return self.endswith(".tick")

    @property
    def queue(self) -> str:
        """The SocialSyncQueue, and so the worker Deployment, that consumes it: uploads must not delay replies."""
        return "documents" if self is Lane.DOCUMENTS else self.split(".")[0]


class PostKind(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    CAROUSEL = "carousel"
    VIDEO = "video"
    REEL = "reel"
    STORY = "story"


class NoticeKind(StrEnum):
    """What people are told. ``notices`` in Postgres holds each once."""

    NEEDS_RECONNECT = "needs_reconnect"
    TOKEN_EXPIRES = "token_expires"  # noqa: S105
    SUBSCRIPTION_LOST = "subscription_lost"
    QUOTA_LOW = "quota_low"
    POST_FAILED = "post_failed"
    POST_NEEDS_CHECK = "post_needs_check"
    POST_MISSED = "post_missed"


class CommentStatus(StrEnum):
    NEW = "new"
    LEFT = "left"  # alone
    REVIEW = "review"  # an answer is written, and a person has to approve it
    ANSWERING = "answering"
    ANSWERED = "answered"
    PERSON = "person"  # a person has to see to it
    FAILED = "failed"


class CommentReason(StrEnum):
    """Why a comment is where it is."""

    # left alone
    OWN = "own"
    CONNECTED_ACCOUNT = "connected_account"
    MENTIONS_OTHER = "mentions_other"
    BETWEEN_USERS = "between_users"
    EMOJI_ONLY = "emoji_only"
    TAGS_ONLY = "tags_only"
    NO_TEXT = "no_text"
    CHATTER = "chatter"
    SPAM = "spam"
    NOT_MONITORED = "not_monitored"
    OFF = "off"
    TOO_OLD = "too_old"
    DELETED = "deleted"
    HIDDEN = "hidden"
    PERSON_ANSWERED = "person_answered"
    NOTHING_TO_SAY = "nothing_to_say"
    AUTHOR_LIMIT = "author_limit"
    MENTION = "mention"
    DISMISSED = "dismissed"
    UNWANTED = "unwanted"  # by a word that the business has set
    # for a person
    COMPLAINT = "complaint"
    SENSITIVE = "sensitive"
    ASKS_PERSON = "asks_person"
    COMMANDS = "commands"  # it tries to command the model
    ASSISTANT = "assistant"  # the model asks for a person
    UNFIT = "unfit"  # what the model wrote must not leave
    UNKNOWN = "unknown"  # nobody knows whether the answer arrived
    REFUSED = "refused"  # by the platform
    FAULT = "fault"  # of ours
    # answered
    QUESTION = "question"
    PRAISE = "praise"
    REMARK = "remark"


class TaskName(StrEnum):
    SCAN_REDIS_BATCHES = "socialsync.ingest.scan_redis_batches"
    PROCESS_BATCH = "socialsync.ingest.process_batch"
    DELIVER = "socialsync.ingest.deliver"
    SWEEP = "socialsync.ingest.sweep"
    ENQUEUE_DUE_POSTS = "socialsync.scheduler.enqueue_due_posts"
    SWEEP_POSTS = "socialsync.scheduler.sweep_posts"
    PUBLISH_POST = "socialsync.scheduler.publish_post"
    CHECK_QUOTA = "socialsync.scheduler.check_quota"
    REFRESH_TOKENS = "socialsync.scheduler.refresh_tokens"
    CARE_FOR_ACCOUNT = "socialsync.scheduler.care_for_account"
    POLL_POST_COMMENTS = "socialsync.comments.poll_post_comments"
    SWEEP_COMMENTS = "socialsync.comments.sweep_comments"
    FETCH_NEW_COMMENTS = "socialsync.comments.fetch_new_comments"
    PROCESS_COMMENT = "socialsync.comments.process_comment"


LANE_OF_TASK: dict[TaskName, Lane] = {
    TaskName.SCAN_REDIS_BATCHES: Lane.INGEST_TICK,
    TaskName.SWEEP: Lane.INGEST_TICK,
    TaskName.PROCESS_BATCH: Lane.INGEST,
    TaskName.DELIVER: Lane.INGEST,
    TaskName.ENQUEUE_DUE_POSTS: Lane.SCHEDULER_TICK,
    TaskName.SWEEP_POSTS: Lane.SCHEDULER_TICK,
    TaskName.PUBLISH_POST: Lane.SCHEDULER,
    TaskName.CHECK_QUOTA: Lane.SCHEDULER,
    TaskName.REFRESH_TOKENS: Lane.SCHEDULER,
    TaskName.CARE_FOR_ACCOUNT: Lane.SCHEDULER,
    TaskName.POLL_POST_COMMENTS: Lane.COMMENTS_TICK,
    TaskName.SWEEP_COMMENTS: Lane.COMMENTS_TICK,
    TaskName.FETCH_NEW_COMMENTS: Lane.COMMENTS,
    TaskName.PROCESS_COMMENT: Lane.COMMENTS,
}


class Action(StrEnum):
    """What one webhook item leads to."""

    REPLY = "reply"  # stored, and put into the conversation's batch
    PERSON = "person"  # a person answered from another app: stored as outbound, the AI pauses
    IDENTITY = "identity"  # the contact's identities are relinked
    COMMENT = "comment"  # goes to the comments lane, which decides for itself
    STATUS = "status"  # an outbound message's state is updated
    STORE = "store"  # stored or applied to a stored message, no reply
    INVALID = "invalid"  # kept raw with its reason
    IGNORE = "ignore"  # acknowledged and kept raw


class IdentityKind(StrEnum):
    """How a platform names a contact. A WhatsApp user may have a phone number, a user id, or both."""

    PHONE = "phone"  # WhatsApp wa_id, digits
    USER_ID = "user_id"  # WhatsApp business-scoped user id, e.g. US.1349
    PARENT_USER_ID = "parent_user_id"  # the same across a business's portfolios
    SCOPED_ID = "scoped_id"  # Instagram- or Page-scoped id


class SkipReason(StrEnum):
    """Why a message that waited got no reply, where more than one service has to know."""

    PERSON_ANSWERS = "a person answers here"
    PERSON_TOOK_OVER = "person took over"


@dataclass(slots=True, frozen=True)
class Identity:
    kind: IdentityKind
    value: str


@dataclass(slots=True)
class WebhookItem:
    """One decided item of a webhook body.

    ``kind`` is the platform's own word for it (``text``, ``reaction``, ``status``, ``account_update`` …);
    ``receiving_id`` is the account it is addressed to (phone number id, Instagram account id, Page id);
    ``sent_at`` is in Unix seconds; ``target_id`` is the platform id of the message that an edit, revoke,
    reaction or status is about; ``identities`` name the contact, best one first. A comment's ``post_id`` is the media
    or post that it is on, and its ``target_id`` the comment that it answers, else that post.
    """

    platform: Platform
    kind: str
    action: Action
    raw: Any
    receiving_id: str | None = None
    platform_message_id: str | None = None
    sent_at: float | None = None
    identities: tuple[Identity, ...] = ()
    contact_name: str | None = None
    text: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    target_id: str | None = None
    post_id: str | None = None
    status: str | None = None
    callback_data: str | None = None
    error: dict[str, Any] | None = None
    reason: str | None = None
