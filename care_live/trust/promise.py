"""What the model card promises of the error, compared with what reference planes measure of a run."""

from __future__ import annotations

from collections.abc import Sequence

from care_live.model.card import NetworkVerdict
from care_live.trust.reference import ErrorFigures

CLEARLY_WORSE_DB = 3.0
"""The measured rms error is 1.4 times what the card promises. On planes of a worm the gain of a good network over the
filter varies by 2.5 dB, while the light falls to a third."""
N_IN_A_ROW = 2
"""References that must be clearly worse: one plane may be a bad one."""


def is_broken(figures: ErrorFigures, promised: NetworkVerdict | None) -> bool:
    """Tell whether one reference is clearly worse than the card says; without a measured figure in it not.

    Both must be clearly lower: PSNR, and by how much it is above that of a Gaussian filter of the same planes. PSNR
    alone is lower in less light, and on a dim plane, whose range is smaller than that of a volume; both lower the
    filter's, too, and the range cancels in the difference. The gain alone is lower in more light, where little is left
    to gain. A card whose figures are estimates from noisy images promises nothing: they are taken over the range of a
    noisy image, which is wider than that of a reference, so a good run would seem worse.
    """
    if promised is None or promised.is_estimate:
        return False
    lacking = promised.network.psnr_db - figures.psnr_db
    lost = _promised_gain(promised) - figures.gain_db
    return min(lacking, lost) > CLEARLY_WORSE_DB


def sentence(times: Sequence[int], figures: ErrorFigures, promised: NetworkVerdict) -> str:
    """Return what was measured, what the card says, and what to do.

    Parameters
    ----------
    times : time points of the references in a row that were clearly worse
    figures : of the newest of them
    """
    return (
        f"the reference planes at time points {times[0]} to {times[-1]} show a larger error than the model card says: "
        f"PSNR {figures.psnr_db:.1f} dB, {_compared(figures.gain_db)}; in the card {promised.network.psnr_db:.1f} dB, "
        f"{_compared(_promised_gain(promised))}: compare the restored planes with their references, check focus and "
        f"light, and train a network on this specimen if these are right"
    )


def _promised_gain(promised: NetworkVerdict) -> float:
    return promised.network.psnr_db - promised.gaussian.psnr_db


def _compared(gain_db: float) -> str:
    return f"{abs(gain_db):.1f} dB {'better' if gain_db >= 0 else 'worse'} than a Gaussian filter"
