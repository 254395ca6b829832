"""Which comments to answer, which to leave alone, and which need a person. Pure: no I/O but the packaged rules."""

from __future__ import annotations

from socialsync_comments.detection.detect import detect
from socialsync_comments.detection.rules import Rules
from socialsync_comments.detection.verdicts import Heard, Outcome, Said, Verdict

__all__ = ["Heard", "Outcome", "Rules", "Said", "Verdict", "detect"]
