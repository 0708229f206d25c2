"""What a model card says of a network beside a filter."""

from __future__ import annotations

from care_live.model.card import ImageScores, NetworkVerdict


def card_verdict(*, raw_db: float, filter_db: float, network_db: float, n_images: int = 1) -> NetworkVerdict:
    """Return the verdict with these PSNRs; both filters have the same one."""
    raw, filtered, network = (ImageScores(psnr_db=one) for one in (raw_db, filter_db, network_db))
    return NetworkVerdict(n_images=n_images, raw=raw, gaussian=filtered, classical=filtered, network=network)
