"""What may be wrong with a file, or with where it is kept."""

from __future__ import annotations

from socialsync_common.errors import PermanentError, TransientError


class UnsupportedMedia(PermanentError):
    """This kind of file cannot be posted: send a JPEG, PNG, MP4 or MOV."""


class BrokenMedia(PermanentError):
    """The file is of a kind that can be posted, but it cannot be shown."""


class StorageAway(TransientError):
    """The media store does not answer: try again."""


class ContentMissing(PermanentError):
    """The content is not in the media store any more: upload the file again."""


class StillUsed(PermanentError):
    """A post uses it: take it out of the post first."""


class UploadTooSlow(TransientError):
    """The upload takes too long: send it again over a faster connection."""


class UploadsBusy(TransientError):
    """Too many uploads at once: try again in a moment."""
