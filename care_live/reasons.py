"""Why a volume went through the network while it was recorded, or only once it was complete: a type, and its words.

The reason travels as a name and figures: through the pipe of inference, in the journal, in cl1. Here it becomes words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

HowRestored: TypeAlias = Literal["stream", "whole"]
"""*stream*: plane by plane, while the volume was recorded · *whole*: after its last plane."""

Reason: TypeAlias = Literal[
    "no-other-planes",
    "asked",
    "sooner",
    "off",
    "foreign",
    "task",
    "operator",
    "provider",
    "channels-unknown",
    "range-unknown",
    "range-changed",
    "past-unknown",
    "plane-missing",
    "not-sooner",
    "no-memory",
    "busy",
    "slow-link",
    "overtaken",
    "swapped",
    "restarted",
    "moved",
    "stored",
    "failed",
]
"""The first three speak for a stream, the others against it."""

_WORDS: Mapping[str, str] = {
    "no-other-planes": "a 2D network needs no other planes",
    "asked": "restore.streaming is on",
    "sooner": "age {streamed_ms:.0f} ms streamed, {whole_ms:.0f} ms whole",
    "off": "streaming is off",
    "foreign": "a foreign network is normalised around its graph",
    "task": "its network has no recorded planes to follow",
    "operator": "its network can't run plane by plane",
    "provider": "OpenVINO takes whole volumes: provider = 'cpu' restores planes as they come",
    "channels-unknown": "which channels the network takes is known from the second time point on",
    "range-unknown": "its range is known only when all its planes are there",
    "range-changed": "the range has changed since the first plane",
    "past-unknown": "an earlier time point that its network reads was not in memory at its first plane",
    "plane-missing": "a plane is missing",
    "not-sooner": "age {streamed_ms:.0f} ms streamed, {whole_ms:.0f} ms whole: planes come too fast, or are too few",
    "no-memory": "a stream of {need_mib:.0f} MiB does not fit into {have_mib:.0f} MiB",
    "busy": "inference was busy with earlier volumes",
    "slow-link": "the link to its worker did not keep up",
    "overtaken": "later volumes came before its last plane",
    "swapped": "another network took over while it was recorded",
    "restarted": "the inference process was replaced while it was recorded",
    "moved": "another worker took it over from the one that got its planes",
    "stored": "it came as a whole: from Live, or from the store",
    "failed": "its stream failed",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """How a volume was restored, and why so."""

    kind: HowRestored
    reason: Reason | str
    """One of `Reason`, or in a message or journal one that only a newer version knows."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """By name; the unit is the end of the name."""
    detail: str = ""
    """A text of a library or of the configuration."""

    def __str__(self) -> str:
        """Return the reason in words."""
        text = _WORDS.get(self.reason, self.reason.replace("-", " ")).format_map(_Figures(self.figures))
        return f"{text}: {self.detail}" if self.detail else text

    def same_as(self, other: Choice | None) -> bool:
        """Return whether another volume was restored in the same way for the same reason, whatever the figures."""
        return other is not None and (self.kind, self.reason) == (other.kind, other.reason)


class _Figures(dict[str, float]):
    """Figures of which some may not have come."""

    def __missing__(self, name: str) -> float:
        return float("nan")


def streamed(reason: Reason, **figures: float) -> Choice:
    """Return the choice of a volume that goes through the network while it is recorded."""
    return Choice("stream", reason, figures)


def whole(reason: Reason, detail: str = "", **figures: float) -> Choice:
    """Return the choice of a volume that is restored once it is complete."""
    return Choice("whole", reason, figures, detail)


def how(choice: Choice | None) -> str:
    """Return for the status whether volumes are streamed, or why not; empty before the first volume."""
    if choice is None:
        return ""
    return "streamed" if choice.kind == "stream" else str(choice)


def described(choice: Choice | None) -> str:
    """Return for a watcher how one volume was restored, and why so; empty where that is not known."""
    if choice is None:
        return ""
    return f"{'streamed' if choice.kind == 'stream' else 'restored whole'}: {choice}"
