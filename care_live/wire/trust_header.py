"""The verdict on a restored volume, as messages carry it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from care_live.verdict import MAX_DOUBTS, Doubt, MeasuredError, Trust
from care_live.wire.codec import record_of
from care_live.wire.fields import Count, Finite, ReasonWord, Text


class DoubtHeader(msgspec.Struct, frozen=True):
    """One place where a restoration contradicts the photons."""

    kind: ReasonWord
    """invented, missing, or one that a newer daemon knows."""
    place_px: tuple[Count, Count, Count]
    """(z, y, x), voxels of the restored volume at level 0."""
    sigmas: Finite


class MeasuredHeader(msgspec.Struct, frozen=True):
    """The error that the newest reference planes showed."""

    t: Count
    psnr_db: Finite
    coverage: Finite | None
    widening: Finite
    dose: Finite
    shift_px: Finite = 0.0


class TrustHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a restored volume can be trusted."""

    colour: ReasonWord
    """green, amber, red, or one that a newer daemon knows."""
    reasons: Annotated[tuple[Text, ...], msgspec.Meta(max_length=32)] = ()
    doubts: Annotated[tuple[DoubtHeader, ...], msgspec.Meta(max_length=MAX_DOUBTS)] = ()
    sd: Annotated[tuple[Finite, ...], msgspec.Meta(max_length=8)] = ()
    """Of the standardised residual at each smoothing scale, finest first; 1 is camera noise alone."""
    share: Finite = 0.0
    """Of the voxels whose residual is above the threshold."""
    camera: Text = ""
    is_out_of_domain: bool = False
    measured: MeasuredHeader | None = None
    unmeasured: Text = ""


def header_of(trust: Trust | None) -> TrustHeader | msgspec.UnsetType:
    """Return a verdict as it is sent."""
    if trust is None:
        return msgspec.UNSET
    return record_of(
        TrustHeader,
        trust,
        doubts=tuple(record_of(DoubtHeader, one) for one in trust.doubts),
        measured=None if trust.measured is None else record_of(MeasuredHeader, trust.measured),
    )


def trust_of(header: TrustHeader | msgspec.UnsetType | None) -> Trust | None:
    """Return the verdict of a message; a colour or kind that only a newer daemon knows is kept as it is."""
    if header is None or header is msgspec.UNSET:
        return None
    return record_of(
        Trust,
        header,
        doubts=tuple(record_of(Doubt, one) for one in header.doubts),
        measured=None if header.measured is None else record_of(MeasuredError, header.measured),
    )
