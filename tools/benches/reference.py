"""Reference planes in a run that fades: is the measured error the true one, and do intervals hold what they say?

The virtual worm's light falls to a third over the run, as by bleaching. Every `--every` time points one plane is
exposed once more, `--light` times longer. *With*: intervals as the daemon draws them, as its reference planes ask for;
*without*: as the network and its card say. Once more for a network whose scales are half of what they should be
(*narrow*). Two more networks are compared with the shipped one's card (without a verdict in it: with its first volume):
the shipped one itself, and one that blurs (*blurred*); ``alarms`` is the share of the volumes after the first of which
the verdict says that the error is larger than the card promises. Coverage is counted with the truth, which the daemon
does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from benches._pairs import say
from care_live.config import AcquisitionConfig, ReferenceConfig, RestoreConfig, VirtualConfig
from care_live.images import REFERENCE, Integrity, Plan, Restored, Volume, VolumeKey, read_only
from care_live.metrics import psnr_db
from care_live.model import file
from care_live.model.card import ImageScores, NetworkVerdict
from care_live.model.reliability import half_width_factor
from care_live.restore.engine import Engine
from care_live.simulate.scene import Exposure, Scene
from care_live.source.reference_planes import heights
from care_live.training.evaluation.evaluate import best_gaussian
from care_live.trust.references import References
from care_live.trust.smooth import smooth

LEVEL = 0.9
FADED = 1 / 3
"""What is left of the light at the end."""
LOOK_EVERY = 5
NARROW = 0.5
BLUR_PX = (1.0, 3.0, 3.0)


@dataclass(frozen=True)
class Look:
    """One time point, compared with the truth."""

    t: int
    held: dict[str, float]
    """Share of the voxels in the 90 % interval, by kind of interval."""
    psnr_off_db: float | None
    """Measured less true PSNR of the reference planes; None: it has none."""
    is_refused: bool
    """Its reference says nothing."""
    alarms: dict[str, bool]
    """Whether the verdict says that the card's promise is broken, by network."""


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="reference", description=__doc__)
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 128, 128), metavar=("Z", "Y", "X"))
    parser.add_argument("--every", type=int, default=ReferenceConfig().every)
    parser.add_argument("--light", type=float, default=ReferenceConfig().light)
    parser.add_argument(
        "--shift", type=float, default=0.0, help="pixels by which the specimen moves before a reference"
    )
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    acquisition = AcquisitionConfig(
        time_points=asked.volumes,
        z_planes=asked.shape[0],
        reference=ReferenceConfig(every=asked.every, light=asked.light),
    )
    config = VirtualConfig(acquisition=acquisition, shape_px=tuple(asked.shape[1:]), specimen_step_s=0.2)
    looks = list(_looks(config, Engine(file.shipped(), RestoreConfig(threads=asked.threads)), asked.shift))
    figures = _figures(looks) | {"dose_share": acquisition.dose_of_references}
    _show(looks, figures)
    return figures


def _looks(config: VirtualConfig, engine: Engine, shift_px: float) -> Iterator[Look]:
    """Record, restore and measure one time point after the other; look at some of them."""
    plan = Plan(stacks={}, shape_px=config.shape_px, channels=("GFP", f"GFP{REFERENCE}"))
    scene = Scene(config)
    followed = {name: References(plan) for name in ("", "narrow_", "blurred_")}
    promised: NetworkVerdict | None = None
    number = 0
    for t in range(config.acquisition.time_points):
        scene.config = config.model_copy(update={"laser_power": FADED ** (t / config.acquisition.time_points)})
        low, bright = _exposed(scene, t, number, shift_px)
        number += len(low.pixels) + (0 if bright is None else len(bright.pixels))
        restored = engine.restore([low])[0]
        promised = promised or engine.card.verdict or _verdict_of(restored, scene)
        shown: dict[str, Restored] = {}
        for name, references in followed.items():
            for volume in (low, bright) if bright is not None else (low,):
                references.take(volume)
            shown[f"{name}without"] = _CHANGED[name](restored)
            shown[f"{name}with"] = references.judged(shown[f"{name}without"], engine.card.calibration, promised)
        if bright is not None or t % LOOK_EVERY == 0:
            yield _looked(scene, shown, half_width_factor(LEVEL, engine.card.calibration))


def _narrowed(restored: Restored) -> Restored:
    """Return what a network would say that takes its errors for half of what they are."""
    scale = read_only(restored.maps["laplace_scale"] * np.float32(NARROW))
    return replace(restored, maps={**restored.maps, "laplace_scale": scale})


def _blurred(restored: Restored) -> Restored:
    mean = read_only(smooth(np.array(restored.maps["mean"]), BLUR_PX))
    return replace(restored, maps={**restored.maps, "mean": mean})


_CHANGED = {"": lambda restored: restored, "narrow_": _narrowed, "blurred_": _blurred}


def _verdict_of(restored: Restored, scene: Scene) -> NetworkVerdict:
    """Return what the card would say of the network, had this volume been its validation."""
    raw, truth = restored.volume.pixels, scene.truth(restored.volume.key)
    filtered = ImageScores(psnr_db=best_gaussian(raw, truth)[1])
    return NetworkVerdict(
        n_images=1,
        raw=ImageScores(psnr_db=psnr_db(raw, truth)),
        gaussian=filtered,
        classical=filtered,
        network=ImageScores(psnr_db=psnr_db(restored.maps["mean"], truth)),
    )


def _exposed(scene: Scene, t: int, first: int, shift_px: float) -> tuple[Volume, Volume | None]:
    """Expose the stack of a time point, each reference behind its twin."""
    plan, wanted = scene.config.acquisition, _heights(scene, t)
    light = plan.reference.light if plan.reference else 1.0
    number, low, bright = first, [], []
    for z in range(plan.z_planes):
        moved_um = shift_px * plan.pixel_size_um
        for into, x_um, exposure_ms in ((low, 0.0, 10.0), (bright, moved_um, 10.0 * light))[: 1 + (z in wanted)]:
            z_um = plan.z_start_um + z * plan.z_step_um
            into.append(scene.expose(Exposure(number, x_um, 0.0, z_um, exposure_ms, scene.config.laser_power)))
            number += 1
    planes = tuple(range(plan.z_planes))
    volume = _volume(VolumeKey(t), np.stack(low), planes, 10.0)
    return volume, _volume(VolumeKey(t, 0, 1), np.stack(bright), wanted, 10.0 * light) if bright else None


def _heights(scene: Scene, t: int) -> tuple[int, ...]:
    plan = scene.config.acquisition
    return heights(plan.reference, t, range(plan.z_planes))


def _volume(key: VolumeKey, pixels: np.ndarray, planes: tuple[int, ...], exposure_ms: float) -> Volume:
    return Volume(
        run_id="bench",
        key=key,
        pixels=read_only(pixels),
        voxel_size_um=(1.0, 0.5, 0.5),
        integrity=Integrity(planes, planes),
        closed="complete",
        state="confirmed",
        first_plane_ns=0,
        last_plane_ns=0,
        acquired_us=0,
        exposure_ms=exposure_ms,
    )


def _looked(scene: Scene, shown: dict[str, Restored], factor: float) -> Look:
    restored, trust = shown["without"], shown["with"].trust
    truth, mean = scene.truth(restored.volume.key), restored.maps["mean"]
    errors = np.abs(mean - truth)
    held = {
        name: float(np.mean(errors <= factor * one.maps["laplace_scale"]))
        for name, one in shown.items()
        if "blurred" not in name
    }
    measured, planes = trust.measured if trust else None, list(_heights(scene, restored.key.t))
    off = None
    if measured and measured.t == restored.key.t and planes:
        off = measured.psnr_db - psnr_db(mean[planes], truth[planes])
    return Look(restored.key.t, held, off, bool(trust and trust.unmeasured), _alarms(shown))


def _alarms(shown: dict[str, Restored]) -> dict[str, bool]:
    """Return for each network that is compared with the card whether the verdict says that it errs more."""
    verdicts = {name: shown[f"{name}with"].trust for name in ("", "blurred_")}
    return {name: one is not None and any("card" in why for why in one.reasons) for name, one in verdicts.items()}


def _figures(looks: list[Look]) -> dict[str, float]:
    off = [abs(look.psnr_off_db) for look in looks if look.psnr_off_db is not None] or [float("nan")]
    figures = {"psnr_off_median_db": float(np.median(off)), "psnr_off_worst_db": max(off)}
    figures["references_refused"] = float(sum(look.is_refused for look in looks))
    for name in looks[0].alarms:
        figures[f"{name}alarms"] = float(np.mean([look.alarms[name] for look in looks[1:]]))
    for name in looks[0].held:
        shares = [look.held[name] for look in looks]
        figures |= {f"coverage_{name}_least": min(shares), f"coverage_{name}_most": max(shares)}
        figures[f"coverage_{name}_mean"] = float(np.mean(shares))
    return figures


def _show(looks: list[Look], figures: dict[str, float]) -> None:
    names = list(looks[0].held)
    say(f"{'t':>5} {' '.join(f'{name:>14}' for name in names)} {'measured less true PSNR':>24}")
    for look in looks[:: max(1, len(looks) // 24)]:
        off = "-" if look.psnr_off_db is None else f"{look.psnr_off_db:+.2f} dB"
        say(f"{look.t:5d} {' '.join(f'{look.held[name]:14.1%}' for name in names)} {off:>24}")
    for name, value in figures.items():
        say(f"{name}: {value:.4g}")
