"""Is it true: what the trust light finds, and how often it is wrong, on volumes of which the truth is known.

The shipped network restores simulated worms, nuclei, tubules and granules that it has not seen, at the dose at which
the brightest voxels of a worm give 20 photo-electrons. Objects of known photons are put into the restoration (*found*)
or taken from it (*erased*). The camera was measured from 100 dark and 40 flat frames; ``_no_file``: it is estimated
from the run. A run is 8 worms old, by which the light has learnt the pixels of the camera; ``_first``: it is the first
volume. Real stacks are exposed at the same dose by the same simulated camera.

    python tools/bench.py truth --json F [--volumes 8] [--clean 100]

``found_2e, found_4e, erased_4e`` are shares. An alarm is false where the truth shows no error of 3 % of the range or
more at any of its places: ``false_alarms_per_100_volumes`` counts volumes of the specimen that the network is made for;
``_foreign`` the others. ``red_per_100_volumes`` counts all red lights, on errors of the network, too, and
``amber_per_100_volumes`` those that are not green either.
``auroc_domain`` compares the distance from training of volumes that the network knows with those that it does not:
other specimens, a blur, voxels of another size than the metadata says, a camera of another gain with less light.
``auroc_error`` says how well the largest residual of a block of voxels tells which blocks are wrong by 5 % of the
range or more. ``error_kept_N`` is the rms error, as a share of the range, of the N % of the blocks of 8x32x32 voxels
with the smallest doubt: the residual, in steps of the threshold, or the network's own interval, whichever ranks higher;
``_by_interval``, ``_by_evidence``: by one of them alone; ``_at_best``: by the error itself.
``cost_share`` is processor time of the examination, its map included, over that of the restoration,
in a run.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benches import _doubtful as doubtful
from benches._abstention import Blocks, auroc
from benches._pairs import say
from care_live.model import file
from care_live.restore.engine import Engine
from care_live.training.inference import as_volume, open_engine
from care_live.trust import domain, evidence, evidence_map
from care_live.trust.examiner import Examiner
from care_live.trust.smooth import smooth
from care_live.verdict import Doubt, Trust

Image = NDArray[Any]
DATA = Path(os.environ.get("CARE_LIVE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
_STACKS = {
    "pollen": "pollen/pollen.tif",
    "cells3d": "cells3d_nuclei/nuclei.tif",
    "brain": "mouse_brain_cells_ch0/ch0.tif",
    "flybrain": "flybrain/flybrain.tif",
    "cho": "cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif",
}
_RUN_OF = range(9000, 9008)
"""Numbers of the worms that come before, in a run."""
_NEAR_PX = (4, 8, 8)
_CONFIRMED = 0.03
"""Of the range, on the smoothing scale of a nucleus."""
_KEYS = ("", "_first", "_no_file", "_no_file_first")


def measure(arguments: list[str]) -> dict[str, float]:
    """Return the figures of the docstring above."""
    parser = argparse.ArgumentParser(prog="truth")
    parser.add_argument("--volumes", type=int, default=8, help="of each specimen")
    parser.add_argument("--clean", type=int, default=100, help="worms of which false alarms are counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    engine = open_engine(chosen.model or file.shipped(), threads=chosen.threads)
    figures = Figures(engine)
    for specimen in ("worm", "nuclei", "tubules", "granules"):
        for number in range(chosen.volumes * (3 if specimen == "worm" else 1)):
            figures.known(specimen, number)
        say(f"{specimen}: {figures.summary()}")
    for number in range(chosen.volumes * 3, chosen.clean):
        figures.clean(number)
    for name, scene, number in doubtful.scenes(max(2, chosen.volumes // 2)):
        figures.foreign(name, scene, number)
    for name, path in _STACKS.items():
        figures.real(name, DATA / path)
    return figures.summary()


class Figures:
    """Collects what the light says of each volume."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.card = engine, engine.card
        self.hits: dict[str, list[bool]] = {}
        self.alarms: dict[str, list[bool]] = {}
        self.reds: dict[str, list[bool]] = {}
        self.distances: dict[str, list[float]] = {"known": []}
        self.blocks = Blocks()
        self.colours: list[str] = []
        self._in_run: dict[bool, Examiner] = {}
        self.restore_s: list[float] = []
        self.examine_s: list[float] = []

    def known(self, specimen: str, number: int) -> None:
        """Restore one volume and change it in every way."""
        one = doubtful.shot(self.engine, doubtful.Scene(specimen), number)  # type: ignore[arg-type]
        self._clean(one, specimen)
        where = doubtful.places(number, 1)
        for electrons in (1, 2, 4):
            self._search(f"found_{electrons}e", doubtful.implanted(one, where, electrons), where)
        self._search("erased_4e", doubtful.erased(one, where, 4, number), where)
        if specimen == "worm":
            self._errors(doubtful.implanted(one, doubtful.places(number, 0), 4))

    def clean(self, number: int) -> None:
        """Restore a worm and see whether the light alarms."""
        self._clean(doubtful.shot(self.engine, doubtful.Scene("worm"), number), "worm")

    def examiner(self, key: str) -> Examiner:
        """Return one with or without a camera file, in a run or at its begin."""
        has_file = "_no_file" not in key
        camera = doubtful.the_camera() if has_file else None
        if "_first" in key:
            return Examiner(self.card, camera)
        if has_file not in self._in_run:
            self._in_run[has_file] = Examiner(self.card, camera)
            for number in _RUN_OF:
                self._in_run[has_file].examine(doubtful.shot(self.engine, doubtful.Scene("worm"), number).restored)
        return copy.deepcopy(self._in_run[has_file])

    def foreign(self, name: str, scene: doubtful.Scene, number: int) -> None:
        """Note how far a volume that the network does not know is from training."""
        one = doubtful.shot(self.engine, scene, number)
        examiner = Examiner(self.card, doubtful.the_camera() if scene.gain == 1 else None)
        self._note(f"foreign_{name}", examiner.examine(one.restored), one)
        self.distances.setdefault(name, []).append(self._distance(examiner))
        self._errors(one)

    def real(self, name: str, path: Path) -> None:
        """Expose a real stack in low light and look at what the shipped network makes of it."""
        if not path.exists():
            return
        stack = np.asarray(tifffile.imread(path)).astype(np.float32)
        stack = stack[0] if stack.ndim == 4 else stack
        low, high = np.percentile(stack, (0.1, 99.9))
        electrons = _fitted((stack - low).clip(0) / (high - low) * 20)
        raw = doubtful.exposed(electrons, 77)
        restored = self.engine.restore([as_volume(raw)])[0]
        one = doubtful.Shot(electrons, restored)
        self._note(f"real_{name}", self.examiner("").examine(restored), one)
        where = doubtful.places(5, 1)
        self._search(f"found_4e_real_{name}", doubtful.implanted(one, where, 4), where, keys=("",))
        self._search(f"erased_4e_real_{name}", doubtful.erased(one, where, 4, 5), where, keys=("",))

    def summary(self) -> dict[str, float]:
        """Return the figures so far."""
        known = self.alarms["worm"]
        others = [alarm for name in ("nuclei", "tubules", "granules") for alarm in self.alarms.get(name, [])]
        figures = {key: round(float(np.mean(hits)), 4) for key, hits in sorted(self.hits.items())}
        figures["false_alarms_per_100_volumes"] = round(100 * float(np.mean(known)), 2)
        figures["red_per_100_volumes"] = round(100 * float(np.mean(self.reds["worm"])), 2)
        figures["amber_per_100_volumes"] = round(100 * self.colours.count("amber") / len(self.colours), 2)
        for key in _KEYS[1:]:
            figures[f"false_alarms_per_100_volumes{key}"] = round(100 * float(np.mean(self.alarms[f"worm{key}"])), 2)
        figures["n_volumes"] = len(known)
        if others:
            figures["false_alarms_per_100_volumes_foreign"] = round(100 * float(np.mean(others)), 2)
        figures |= {f"red_{key}": float(np.mean(alarms)) for key, alarms in self.reds.items() if key.startswith("real")}
        figures |= self._domain() | self.blocks.figures()
        examine_s, restore_s = float(np.median(self.examine_s)), float(np.median(self.restore_s))
        figures["cost_share"] = round(examine_s / restore_s, 4)
        figures |= {"examine_ms": round(1e3 * examine_s, 1), "restore_ms": round(1e3 * restore_s, 1)}
        return figures

    def _clean(self, one: doubtful.Shot, specimen: str) -> None:
        volume, examiner = one.restored.volume, self.examiner("")
        begun = time.process_time()
        self.engine.restore([volume])
        restored = time.process_time()
        trust = examiner.examine(one.restored)
        if examiner.found is not None:
            rows, columns = evidence_map.grid(*one.restored.mean.shape[1:])
            evidence_map.draw(examiner.found, np.empty((len(one.restored.mean), rows, columns), np.float32))
        self.examine_s.append(time.process_time() - restored)
        self.restore_s.append(restored - begun)
        self._note(specimen, trust, one)
        for key in _KEYS[1:]:
            self._note(f"{specimen}{key}", self.examiner(key).examine(one.restored), one)
        if specimen == "worm":
            self.colours.append(trust.colour)
            self.distances["known"].append(self._distance(examiner))
        self._errors(one, examiner)

    def _note(self, key: str, trust: Trust, one: doubtful.Shot) -> None:
        is_red = trust.colour == "red"
        self.reds.setdefault(key, []).append(is_red)
        if is_red:
            say(f"{key}: {trust}")
        self.alarms.setdefault(key, []).append(is_red and not any(_is_wrong(one, doubt) for doubt in trust.doubts))

    def _search(
        self, name: str, one: doubtful.Shot, where: list[tuple[float, ...]], *, keys: Sequence[str] = _KEYS
    ) -> None:
        for key in keys:
            doubts = self.examiner(key).examine(one.restored).doubts
            for place in where:
                near = [np.all(np.abs(np.subtract(doubt.place_px, place)) <= _NEAR_PX) for doubt in doubts]
                self.hits.setdefault(f"{name}{key}", []).append(any(near))

    def _distance(self, examiner: Examiner) -> float:
        trained = self.card.training.features
        return domain.distance(examiner.features, trained) if trained is not None and examiner.features else 0.0

    def _errors(self, one: doubtful.Shot, examiner: Examiner | None = None) -> None:
        """Note true errors beside residuals, block by block."""
        if examiner is None:
            examiner = Examiner(self.card, doubtful.the_camera())
            examiner.examine(one.restored)
        if examiner.found is None:
            return
        self.blocks.add(one.restored, doubtful.the_sensor().expected_counts(one.electrons), examiner.found)

    def _domain(self) -> dict[str, float]:
        known = np.array(self.distances["known"])
        others = {name: np.array(found) for name, found in self.distances.items() if name != "known"}
        if not others:
            return {}
        figures = {f"auroc_domain_{name}": auroc(known, found) for name, found in others.items()}
        figures["auroc_domain"] = auroc(known, np.concatenate(list(others.values())))
        limit = self.card.training.features.limit if self.card.training.features else 0.0
        figures["flagged_known"] = float(np.mean(known > limit))
        figures["flagged_foreign"] = float(np.mean(np.concatenate(list(others.values())) > limit))
        return figures


def _is_wrong(one: doubtful.Shot, doubt: Doubt) -> bool:
    """Tell whether the truth confirms a doubt, nearby."""
    off = one.restored.maps["mean"] - doubtful.the_sensor().expected_counts(one.electrons)
    width = one.restored.high - one.restored.low
    sides = zip(doubt.place_px, off.shape, (6, 16, 16), strict=True)
    around = off[tuple(slice(max(at - reach, 0), min(at + reach, n)) for at, n, reach in sides)]
    error = smooth(np.ascontiguousarray(around), evidence.SCALES_PX[1]) / width
    return float(error.max() if doubt.kind == "invented" else -error.min()) >= _CONFIRMED


def _fitted(stack: Image) -> Image:
    """Cut a stack to the camera's field, or repeat its mirror image where it is smaller."""
    cut = stack[: doubtful.SHAPE[0], : doubtful.SHAPE[1], : doubtful.SHAPE[2]]
    short = [(0, max(0, side - had)) for side, had in zip(doubtful.SHAPE, cut.shape, strict=True)]
    return np.ascontiguousarray(np.pad(cut, short, mode="symmetric"), np.float32)
