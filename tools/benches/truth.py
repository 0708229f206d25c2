"""Is it true: what the trust light finds, and how often it is wrong, on volumes of which the truth is known.

The shipped network restores simulated worms, nuclei, tubules and granules that it has not seen, at the dose at which
the brightest voxels of a worm give 20 photo-electrons. Objects of known photons are put into the restoration (*found*)
or taken from it (*erased*). The camera was measured from 100 dark and 40 flat frames; ``_no_file``: it is estimated
from the run. A run is 8 worms old, by which the light has learnt the pixels of the camera; ``_first``: it is the first
volume. Real stacks are exposed at the same dose by the same simulated camera.

    python tools/bench.py truth --json F [--parts known,clean,small,foreign,real] [--kept FILE] [--long]

A part may run alone; with ``--kept`` its figures are added to those that other parts left in FILE. ``--long`` has three
times the volumes. ``--seed N`` takes other specimens, which no constant was chosen on.

``found_2e, found_4e, erased_4e`` are shares. An alarm is false where the truth shows no error of 3 % of the range or
more at any of its places: ``false_alarms_per_100_volumes`` counts volumes of the specimen that the network is made for;
``_foreign`` the others. ``red_per_100_volumes`` counts all red lights, on errors of the network, too, and
``amber_per_100_volumes`` those that are not green either. ``_real_NAME``: of one real stack, as ``red_real_NAME``,
``found_4e_real_NAME`` and ``erased_4e_real_NAME`` are.
``auroc_domain`` compares the distance from training of volumes that the network knows with those that it does not:
other specimens, a blur, voxels of another size than the metadata says, a camera of another gain with less light.
``auroc_error`` says how well the largest residual of a block of voxels tells which blocks are wrong by 5 % of the
range or more. ``error_kept_N`` is the rms error, as a share of the range, of the N % of the blocks of 8x32x32 voxels
with the smallest doubt: the residual, in steps of the threshold, or the network's own interval, whichever ranks higher;
``_by_interval``, ``_by_evidence``: by one of them alone; ``_at_best``: by the error itself.
``cost_share`` is processor time of the examination, its map included, over that of the restoration,
in a run. Products of matrices have one thread, as in an inference process: a second one mostly waits, and its waiting
counts as processor time.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from threadpoolctl import threadpool_limits

from benches import _doubtful as doubtful
from benches._pairs import say
from benches._trust_figures import SPECIMENS, Figures
from care_live.model import file
from care_live.training.evaluation.inference import open_engine

DATA = Path(os.environ.get("CARE_LIVE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
_STACKS = {
    "pollen": "pollen/pollen.tif",
    "cells3d": "cells3d_nuclei/nuclei.tif",
    "brain": "mouse_brain_cells_ch0/ch0.tif",
    "flybrain": "flybrain/flybrain.tif",
    "cho": "cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif",
}
_SMALL = {"at_96": (32, 96, 96), "of_8": (8, 128, 128)}
_PARTS = ("known", "clean", "small", "foreign", "real")


def measure(arguments: list[str]) -> dict[str, float]:
    """Return the figures of the docstring above."""
    parser = argparse.ArgumentParser(prog="truth")
    parser.add_argument("--parts", default=",".join(_PARTS))
    parser.add_argument("--kept", type=Path, default=None, help="figures of other parts, to which these are added")
    parser.add_argument("--long", action="store_true", help="three times the volumes")
    parser.add_argument("--seed", type=int, default=0, help="of the specimens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    with threadpool_limits(1, user_api="blas"):  # as an inference process has it
        return _measured(chosen)


def _measured(chosen: argparse.Namespace) -> dict[str, float]:
    times = 3 if chosen.long else 1
    engine = open_engine(chosen.model or file.shipped(), threads=chosen.threads)
    figures = Figures(engine, 10_000 * chosen.seed)
    if chosen.kept is not None and chosen.kept.exists():
        figures.add(json.loads(chosen.kept.read_text()))
    for part in chosen.parts.split(","):
        _PART_OF[part](figures, times)
        say(f"{part}: {figures.summary()}")
    if chosen.kept is not None:
        chosen.kept.write_text(json.dumps(figures.collected()))
    return figures.summary()


def _known(figures: Figures, times: int) -> None:
    for specimen in SPECIMENS:
        for number in range(times * (12 if specimen == "worm" else 5)):
            figures.known(specimen, number)


def _clean(figures: Figures, times: int) -> None:
    for number in range(12 * times, 100 * times):
        figures.clean(number)


def _small(figures: Figures, times: int) -> None:
    for name, shape_px in _SMALL.items():
        for number in range(20 * times):
            figures.small(name, shape_px, number)


def _foreign(figures: Figures, times: int) -> None:
    for name, scene, number in doubtful.scenes(3 * times):
        figures.foreign(name, scene, number)


def _real(figures: Figures, times: int) -> None:
    for name, path in _STACKS.items():
        figures.real(name, DATA / path)


_PART_OF = dict(zip(_PARTS, (_known, _clean, _small, _foreign, _real), strict=True))
