"""The trust light: everything that is known against a restored volume, as one colour with its reasons."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from care_live.images import Flag
from care_live.model.card import EvidenceLimits
from care_live.trust.camera import CameraModel
from care_live.trust.surroundings import SCALES_PX
from care_live.trust.texture import limit_of
from care_live.verdict import Doubt, Trust, TrustColour

KEPT_SHARE = 0.3
"""Of the noise: good restorations leave 0.8 to 1.1 times the camera's noise over, a copy of the raw 0."""
_KNOWN_PATTERN = 0.25
"""Of the variance in the dark: a network may restore more of the pixels' offsets as light."""
_SAID_OF_FLAGS: dict[str, str] = {
    "missing_plane": "planes are missing: the nearest ones stand in for them",
    "saturated": "some raw pixels are saturated",
    "nan_fixed": "the network gave no number at some voxels: they show 0",
    "empty": "the volume is nearly empty: there is little to compare",
}


def verdict(
    flags: Collection[Flag], *, doubts: Sequence[Doubt] = (), cautions: Sequence[str] = (), strange: Sequence[str] = ()
) -> Trust:
    """Return the colour and its reasons.

    Parameters
    ----------
    flags : of the restored volume
    doubts : places that contradict the photons, the worst first: red
    cautions : what else is known against it, in words: amber
    strange : in what it lies outside of what the network was trained on, in words: amber
    """
    said = [_SAID_OF_FLAGS[flag] for flag in sorted(flags) if flag in _SAID_OF_FLAGS]
    reasons = (*_of_doubts(doubts), *cautions, *strange, *said)
    colour: TrustColour = "red" if doubts or "nan_fixed" in flags else "amber" if reasons else "green"
    return Trust(colour, reasons, tuple(doubts), is_out_of_domain=bool(strange))


def also_strange(trust: Trust, strange: Sequence[str]) -> Trust:
    """Return a verdict with more in what its volume lies outside of training, in words: at least amber."""
    if not strange:
        return trust
    colour: TrustColour = "amber" if trust.colour == "green" else trust.colour
    return replace(trust, colour=colour, reasons=(*trust.reasons, *strange), is_out_of_domain=True)


def biases(sd: Sequence[float], limits: EvidenceLimits) -> tuple[str, ...]:
    """Return at which sizes the residual is more than the camera's noise, in words."""
    pairs = zip(sd, limits.sd, SCALES_PX, strict=True)
    wide = [(value, scale) for value, most, scale in pairs if value > most]
    if not wide:
        return ()
    value, scale = max(wide)
    return (
        f"intensities are off at sizes of about {2 * scale[-1]:g} pixels: the residual is {value:.1f} times the "
        "camera's noise; do not measure brightness",
    )


def made_up_texture(texture_sd: float, n_lit: int, limits: EvidenceLimits) -> tuple[str, ...]:
    """Return in words that fine structures in bright places are not those that were counted.

    Parameters
    ----------
    n_lit : squares that showed it
    """
    if texture_sd <= limit_of(n_lit, limits.texture_sd):
        return ()
    return (
        f"fine structures in bright places are not those that the camera counted: the residual there is "
        f"{texture_sd:.1f} times the camera's noise; do not trust textures",
    )


def kept_noise(sd: Sequence[float], camera: CameraModel, kept_share: float = 0.0) -> tuple[str, ...]:
    """Return in words that a restoration follows the noise of its raw volume.

    Parameters
    ----------
    sd : of a residual that is as large as the camera's noise where the restoration is right, finest first
    kept_share : of the noise of single pixels, see `care_live.trust.seen_noise.kept_share`
    """
    left = min(sd[0], 1 - kept_share)
    is_known = camera.pattern_sd**2 <= _KNOWN_PATTERN * camera.dark_variance
    if kept_share < KEPT_SHARE and not (sd[0] < 1 - KEPT_SHARE and is_known):
        return ()
    return (
        f"the restoration keeps the camera's noise: the residual is only {left:.1f} times this noise; fine structures "
        "may be noise",
    )


def _of_doubts(doubts: Sequence[Doubt]) -> list[str]:
    said = []
    for kind, what in (
        ("invented", "shows something that the camera did not count"),
        ("missing", "lacks something that the camera counted"),
    ):
        found = [doubt for doubt in doubts if doubt.kind == kind]
        if found:
            places = "1 place" if len(found) == 1 else f"{len(found)} places"
            said.append(
                f"the restoration {what} at {places}, the worst in {found[0].where} ({found[0].sigmas:.1f} times "
                "the noise): look at the raw volume there"
            )
    return said
