"""Who commented on what, and what was answered, in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from socialsync_common.contracts import Platform
from socialsync_sandbox import ids
from socialsync_sandbox.comments.usage import Usages
from socialsync_sandbox.publishing.state import File, Post, Posts


class By(StrEnum):
    """Who wrote a comment: somebody else, or the account, through the app or by a person."""

    CONTACT = "contact"
    APP = "app"
    PERSON = "person"


@dataclass(slots=True, frozen=True)
class Author:
    id: str
    name: str


class Timeline:
    """Comments in the order in which they were written."""

    __slots__ = ("_comments",)

    def __init__(self) -> None:
        self._comments: list[Comment] = []

    def __len__(self) -> int:
        return len(self._comments)

    def add(self, comment: Comment) -> None:
        insort(self._comments, comment, key=_order)

    def discard(self, comment: Comment) -> None:
        place = bisect_left(self._comments, _order(comment), key=_order)
        if self._comments[place : place + 1] == [comment]:
            del self._comments[place]

    def newest(self, limit: int, before: Comment | None = None) -> tuple[list[Comment], bool]:
        """Newest first, and whether there are more."""
        end = len(self) if before is None else bisect_left(self._comments, _order(before), key=_order)
        begin = max(0, end - limit)
        return self._comments[begin:end][::-1], begin > 0

    def oldest(self, limit: int, after: Comment | None = None) -> tuple[list[Comment], bool]:
        """Oldest first, and whether there are more."""
        begin = 0 if after is None else bisect_right(self._comments, _order(after), key=_order)
        return self._comments[begin : begin + limit], begin + limit < len(self)

    def all(self) -> list[Comment]:
        """Oldest first."""
        return list(self._comments)


@dataclass(slots=True, eq=False, repr=False)
class Comment:
    """``at``: Unix seconds as they are shown; ``arrived_at``: when it was really written. ``replies``: at all depths."""

    id: str
    seq: int
    thread: Thread
    parent: Comment | None
    author: Author
    by: By
    text: str
    at: float
    arrived_at: float
    replies: Timeline = field(default_factory=Timeline)
    is_hidden: bool = False
    is_liked: bool = False
    is_deleted: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Thread:
    """What is said below one post. ``all``: with the replies; ``top``: the top level; ``own``: of it, by the app."""

    post: Post
    all: Timeline = field(default_factory=Timeline)
    top: Timeline = field(default_factory=Timeline)
    own: Timeline = field(default_factory=Timeline)


@dataclass(slots=True)
class Tally:
    """What the app did. ``public``, ``private``: the texts that answer a comment, by its id. ``doubled``: the comments
    with more than one of a kind. ``hidden``, ``liked``: whoever did it, in order; only the keys matter."""

    calls: Counter[str] = field(default_factory=Counter)
    throttled: int = 0
    public: dict[str, list[str]] = field(default_factory=dict)
    private: dict[str, list[str]] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    hidden: dict[str, None] = field(default_factory=dict)
    liked: dict[str, None] = field(default_factory=dict)
    answer_seconds: list[float] = field(default_factory=list)


class Comments:
    """Posts by others than the sandbox's publishing are ``organic``."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._reset()

    def _reset(self) -> None:
        self.organic: dict[str, Post] = {}
        self.threads: dict[str, Thread] = {}
        self.by_id: dict[str, Comment] = {}
        self.written = 0
        self.tally = Tally()
        self.usages = Usages()

    def clear(self) -> None:
        self._reset()

    def clock(self) -> float:
        return self._posts.clock()

    def add_post(
        self, platform: Platform, account: str, kind: str, caption: str, pictures: int, age_seconds: float
    ) -> Post:
        """A post of the account that did not come from the app."""
        number = ids.numeric_id()
        is_page = platform is Platform.MESSENGER
        post_id = f"{account}_{number}" if is_page else number
        post = Post(
            0, self.clock() - age_seconds, platform, account, kind, post_id, None,
            _permalink(platform, account, kind, number), caption,
            [File("", is_video=kind in ("reel", "video")) for _ in range(pictures)], [],
        )  # fmt: skip
        self.organic[post_id] = post
        return post

    def thread_of(self, post_id: str) -> Thread | None:
        """What is said below a post; None where there is no such post."""
        thread = self.threads.get(post_id)
        if thread is None:
            post = self.organic.get(post_id) or self._posts.by_id.get(post_id)
            if post is None:
                return None
            thread = self.threads[post_id] = Thread(post)
        return thread

    def own(self, post_id: str) -> list[dict[str, str]]:
        """What the app said below a post, oldest first."""
        thread = self.threads.get(post_id)
        return [{"id": each.id, "text": each.text} for each in thread.own.all()] if thread else []

    def get(self, comment_id: str) -> Comment | None:
        """None where there is none, or no longer."""
        comment = self.by_id.get(comment_id)
        return None if comment is None or comment.is_deleted else comment

    def write(
        self,
        thread: Thread,
        author: Author,
        by: By,
        text: str,
        parent: Comment | None = None,
        age_seconds: float = 0.0,
    ) -> Comment:
        """On Instagram a reply to a reply is attached to its top-level comment."""
        post, now = thread.post, self.clock()
        if parent is not None and post.platform is Platform.INSTAGRAM:
            parent = parent.parent or parent
        number = ids.numeric_id()
        comment_id = (
            f"{post.media_id.rpartition('_')[2]}_{number}" if post.platform is Platform.MESSENGER else number
        )
        comment = Comment(
            comment_id, len(self.by_id), thread, parent, author, by, text, now - age_seconds, now
        )
        self.by_id[comment_id] = comment
        self.written += by is By.CONTACT
        for timeline in _timelines(comment):
            timeline.add(comment)
        return comment

    def delete(self, comment: Comment) -> None:
        """With its replies."""
        for each in (*comment.replies.all(), comment):
            for timeline in _timelines(each):
                timeline.discard(each)
            each.is_deleted = True

    def answered(self, comment: Comment, text: str, *, private: bool) -> None:
        """By the app."""
        tally = self.tally
        if comment.id not in tally.public and comment.id not in tally.private:
            tally.answer_seconds.append(self.clock() - comment.arrived_at)
        texts = (tally.private if private else tally.public).setdefault(comment.id, [])
        texts.append(text)
        if len(texts) > 1:
            tally.doubled.add(comment.id)

    def hide(self, comment: Comment, *, is_hidden: bool) -> None:
        comment.is_hidden = is_hidden
        if is_hidden:
            self.tally.hidden[comment.id] = None
        else:
            self.tally.hidden.pop(comment.id, None)

    def like(self, comment: Comment) -> None:
        comment.is_liked = True
        self.tally.liked[comment.id] = None


def _timelines(comment: Comment) -> list[Timeline]:
    """Those that it stands in."""
    found = [comment.thread.all]
    if comment.parent is None:
        found.append(comment.thread.top)
        if comment.by is By.APP:
            found.append(comment.thread.own)
    parent = comment.parent
    while parent is not None:
        found.append(parent.replies)
        parent = parent.parent
    return found


def _order(comment: Comment) -> tuple[float, int]:
    return comment.at, comment.seq


def _permalink(platform: Platform, account: str, kind: str, number: str) -> str:
    if platform is Platform.INSTAGRAM:
        return f"https://www.instagram.com/{'reel' if kind == 'reel' else 'p'}/{number}/"
    if kind == "reel":
        return f"https://www.facebook.com/reel/{number}/"
    return f"https://www.facebook.com/{account}/posts/{number}"
