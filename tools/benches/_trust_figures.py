"""What the trust light says of volumes of which the truth is known, collected for the bench *truth*."""

from __future__ import annotations

import copy
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
from care_live.restore.engine import Engine
from care_live.training.data.data_recipe import SpecimenName
from care_live.training.evaluation.inference import as_volume
from care_live.trust import domain, evidence_map
from care_live.trust.examiner import Examiner
from care_live.trust.smooth import smooth
from care_live.trust.surroundings import SCALES_PX
from care_live.verdict import Doubt, Trust

Image = NDArray[Any]
SPECIMENS: tuple[SpecimenName, ...] = ("worm", "nuclei", "tubules", "granules")
_RUN_OF = range(9000, 9008)
"""Numbers of the worms that come before, in a run."""
_NEAR_PX = (4, 8, 8)
_CONFIRMED = 0.03
"""Of the range, on the smoothing scale of a nucleus."""
_KEYS = ("", "_first", "_no_file", "_no_file_first")
_SMALL_KEYS = ("_no_file_first",)
"""A small field has no run before it."""
_COLLECTED = ("hits", "alarms", "reds", "distances", "colours", "restore_s", "examine_s")
_BLOCKS = ("squared", "largest", "by_evidence", "by_interval")


class Figures:
    """Collects what the light says of each volume."""

    def __init__(self, engine: Engine, first: int = 0) -> None:
        self.engine, self.card, self.first = engine, engine.card, first
        self.hits: dict[str, list[bool]] = {}
        self.alarms: dict[str, list[bool]] = {}
        self.reds: dict[str, list[bool]] = {}
        self.distances: dict[str, list[float]] = {"known": []}
        self.blocks = Blocks()
        self.colours: dict[str, list[str]] = {}
        self._in_run: dict[bool, Examiner] = {}
        self.restore_s: list[float] = []
        self.examine_s: list[float] = []

    def known(self, specimen: SpecimenName, number: int) -> None:
        """Restore one volume and change it in every way."""
        number += self.first
        one = doubtful.shot(self.engine, doubtful.Scene(specimen), number)
        self._clean(one, specimen)
        where = doubtful.places(number, 1)
        for electrons in (1, 2, 4):
            self._search(f"found_{electrons}e", doubtful.implanted(one, where, electrons), where, of=specimen)
        self._search("erased_4e", doubtful.erased(one, where, 4, number), where, of=specimen)
        if specimen == "worm":
            self._errors(doubtful.implanted(one, doubtful.places(number, 0), 4))

    def clean(self, number: int) -> None:
        """Restore a worm and see whether the light alarms."""
        self._clean(doubtful.shot(self.engine, doubtful.Scene("worm"), self.first + number), "worm")

    def small(self, name: str, shape_px: tuple[int, int, int], number: int) -> None:
        """Restore a worm in a small field, or a few planes of it, at the begin of a run without a camera file."""
        number += self.first + 500
        one = doubtful.shot(self.engine, doubtful.Scene("worm", shape_px=shape_px), number)
        trust = Examiner(self.card).examine(one.restored)
        self.colours.setdefault(name, []).append(trust.colour)
        self._note(name, trust, one)
        where = doubtful.places(number, 1, shape_px)
        for what, changed in (
            ("found_2e", doubtful.implanted(one, where, 2)),
            ("found_4e", doubtful.implanted(one, where, 4)),
            ("erased_4e", doubtful.erased(one, where, 4, number)),
        ):
            self._search(f"{what}_{name}", changed, where, keys=_SMALL_KEYS)

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
        one = doubtful.shot(self.engine, scene, self.first + number)
        examiner = Examiner(self.card, doubtful.the_camera() if scene.gain == 1 else None)
        self._note(f"foreign_{name}", examiner.examine(one.restored), one)
        self.distances.setdefault(name, []).append(self._distance(examiner, one))
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
        where = doubtful.places(self.first + 5, 1)
        self._search(f"found_4e_real_{name}", doubtful.implanted(one, where, 4), where, keys=("",))
        self._search(f"erased_4e_real_{name}", doubtful.erased(one, where, 4, 5), where, keys=("",))

    def collected(self) -> dict[str, Any]:
        """Return all that was seen, for a later part."""
        lists = {name: [part.tolist() for part in getattr(self.blocks, name)] for name in _BLOCKS}
        return {name: getattr(self, name) for name in _COLLECTED} | {"blocks": lists}

    def add(self, collected: dict[str, Any]) -> None:
        """Take what another part collected."""
        for name in _COLLECTED:
            setattr(self, name, collected[name])
        for name in _BLOCKS:
            getattr(self.blocks, name).extend(np.array(part) for part in collected["blocks"][name])

    def summary(self) -> dict[str, float]:
        """Return the figures so far."""
        figures = {key: round(float(np.mean(hits)), 4) for key, hits in sorted(self.hits.items())}
        others = [alarm for name in SPECIMENS[1:] for alarm in self.alarms.get(name, [])]
        if "worm" in self.alarms:
            figures |= {
                f"false_alarms_per_100_volumes{key}": _per_100(self.alarms[f"worm{key}"])
                for key in _KEYS
                if f"worm{key}" in self.alarms
            }
            figures |= {"n_volumes": len(self.alarms["worm"]), "red_per_100_volumes": _per_100(self.reds["worm"])}
        if others:
            figures["false_alarms_per_100_volumes_foreign"] = _per_100(others)
        for name, colours in self.colours.items():
            suffix = "" if name == "worm" else f"_{name}"
            figures[f"amber_per_100_volumes{suffix}"] = _per_100([colour == "amber" for colour in colours])
            figures[f"red_per_100_volumes{suffix}"] = _per_100([colour == "red" for colour in colours])
            figures[f"false_alarms_per_100_volumes{suffix}"] = _per_100(self.alarms[name])
        for key in (key for key in self.reds if key.startswith("real")):
            figures |= {f"red_{key}": float(np.mean(self.reds[key]))}
            figures |= {f"false_alarms_per_100_volumes_{key}": _per_100(self.alarms[key])}
        figures |= self._domain() | self._errors_kept() | self._cost()
        return figures

    def _errors_kept(self) -> dict[str, float]:
        return self.blocks.figures() if self.blocks.squared else {}

    def _cost(self) -> dict[str, float]:
        if not self.examine_s:
            return {}
        examine_s, restore_s = float(np.median(self.examine_s)), float(np.median(self.restore_s))
        return {
            "cost_share": round(examine_s / restore_s, 4),
            "examine_ms": round(1e3 * examine_s, 1),
            "restore_ms": round(1e3 * restore_s, 1),
        }

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
            self.colours.setdefault("worm", []).append(trust.colour)
            self.distances["known"].append(self._distance(examiner, one))
        self._errors(one, examiner)

    def _note(self, key: str, trust: Trust, one: doubtful.Shot) -> None:
        is_red = trust.colour == "red"
        self.reds.setdefault(key, []).append(is_red)
        if is_red:
            say(f"{key}: {trust}")
        self.alarms.setdefault(key, []).append(is_red and not any(_is_wrong(one, doubt) for doubt in trust.doubts))

    def _search(
        self,
        name: str,
        one: doubtful.Shot,
        where: list[tuple[float, ...]],
        *,
        keys: Sequence[str] = _KEYS,
        of: SpecimenName | None = None,
    ) -> None:
        """Count which of some places a light names; apart for the specimen, too."""
        for key in keys:
            doubts = self.examiner(key).examine(one.restored).doubts
            for place in where:
                near = [np.all(np.abs(np.subtract(doubt.place_px, place)) <= _NEAR_PX) for doubt in doubts]
                names = [f"{name}{'' if keys is _SMALL_KEYS else key}", *([f"{name}_{of}"] if of and not key else [])]
                for full in names:
                    self.hits.setdefault(full, []).append(any(near))

    def _distance(self, examiner: Examiner, one: doubtful.Shot) -> float:
        """Return how far a volume is from training, in limits of the card."""
        trained = self.card.training.features
        if trained is None or not examiner.features:
            return 0.0
        return domain.distance(examiner.features, trained) / domain.limit_of(one.electrons.size, trained)

    def _errors(self, one: doubtful.Shot, examiner: Examiner | None = None) -> None:
        """Note true errors beside residuals, block by block."""
        if examiner is None:
            examiner = Examiner(self.card, doubtful.the_camera())
            examiner.examine(one.restored)
        if examiner.found is None:
            return
        self.blocks.add(
            one.restored, doubtful.the_sensor(one.shape_px[1:]).expected_counts(one.electrons), examiner.found
        )

    def _domain(self) -> dict[str, float]:
        known = np.array(self.distances["known"])
        if not len(known):
            return {}
        others = {name: np.array(found) for name, found in self.distances.items() if name != "known"}
        if not others:
            return {}
        figures = {f"auroc_domain_{name}": auroc(known, found) for name, found in others.items()}
        figures["auroc_domain"] = auroc(known, np.concatenate(list(others.values())))
        figures["flagged_known"] = float(np.mean(known > 1))
        figures["flagged_foreign"] = float(np.mean(np.concatenate(list(others.values())) > 1))
        return figures


def _per_100(cases: Sequence[bool]) -> float:
    return round(100 * float(np.mean(cases)), 2)


def _is_wrong(one: doubtful.Shot, doubt: Doubt) -> bool:
    """Tell whether the truth confirms a doubt, nearby."""
    off = one.restored.maps["mean"] - doubtful.the_sensor(one.shape_px[1:]).expected_counts(one.electrons)
    width = one.restored.high - one.restored.low
    sides = zip(doubt.place_px, off.shape, (6, 16, 16), strict=True)
    around = off[tuple(slice(max(at - reach, 0), min(at + reach, n)) for at, n, reach in sides)]
    error = smooth(np.ascontiguousarray(around), SCALES_PX[1]) / width
    return float(error.max() if doubt.kind == "invented" else -error.min()) >= _CONFIRMED


def _fitted(stack: Image) -> Image:
    """Cut a stack to the camera's field, or repeat its mirror image where it is smaller."""
    cut = stack[: doubtful.SHAPE[0], : doubtful.SHAPE[1], : doubtful.SHAPE[2]]
    short = [(0, max(0, side - had)) for side, had in zip(doubtful.SHAPE, cut.shape, strict=True)]
    return np.ascontiguousarray(np.pad(cut, short, mode="symmetric"), np.float32)
