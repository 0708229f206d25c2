"""Reference planes in a run that fades: is the measured error the true one, and do intervals hold what they say?

The virtual worm's light falls to a third over the run, as by bleaching. Every `--every` time points one plane is
exposed once more, `--light` times longer. *With*: intervals as the daemon draws them, as its reference planes ask for;
*without*: as the network and its card say. Coverage is counted with the truth, which the daemon does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benches._pairs import say
from care_live.config import AcquisitionConfig, ReferenceConfig, RestoreConfig, VirtualConfig
from care_live.daemon.references import References
from care_live.images import REFERENCE, Integrity, Plan, Restored, Volume, VolumeKey, read_only
from care_live.metrics import psnr_db
from care_live.model import file
from care_live.model.reliability import half_width_factor
from care_live.restore.engine import Engine
from care_live.simulate.scene import Exposure, Scene
from care_live.source.reference_planes import heights

LEVEL = 0.9
FADED = 1 / 3
"""What is left of the light at the end."""
LOOK_EVERY = 5


@dataclass(frozen=True)
class Look:
    """One time point, compared with the truth."""

    t: int
    with_references: float
    without: float
    psnr_off_db: float | None
    """Measured less true PSNR of the reference planes; None: it has none."""


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="reference", description=__doc__)
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 128, 128), metavar=("Z", "Y", "X"))
    parser.add_argument("--every", type=int, default=ReferenceConfig().every)
    parser.add_argument("--light", type=float, default=ReferenceConfig().light)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    acquisition = AcquisitionConfig(
        time_points=asked.volumes,
        z_planes=asked.shape[0],
        reference=ReferenceConfig(every=asked.every, light=asked.light),
    )
    config = VirtualConfig(acquisition=acquisition, shape_px=tuple(asked.shape[1:]), specimen_step_s=0.2)
    looks = list(_looks(config, Engine(file.shipped(), RestoreConfig(threads=asked.threads))))
    figures = _figures(looks) | {"dose_share": acquisition.dose_of_references}
    _show(looks, figures)
    return figures


def _looks(config: VirtualConfig, engine: Engine) -> Iterator[Look]:
    """Record, restore and measure one time point after the other; look at some of them."""
    plan = Plan(stacks={}, shape_px=config.shape_px, channels=("GFP", f"GFP{REFERENCE}"))
    scene, references, factor = Scene(config), References(plan), half_width_factor(LEVEL, engine.card.calibration)
    number = 0
    for t in range(config.acquisition.time_points):
        scene.config = config.model_copy(update={"laser_power": FADED ** (t / config.acquisition.time_points)})
        low, bright = _exposed(scene, t, number)
        number += len(low.pixels) + (0 if bright is None else len(bright.pixels))
        references.take(low)
        if bright is not None:
            references.take(bright)
        restored = engine.restore([low])[0]
        judged = references.judged(restored, engine.card.calibration)
        if bright is not None or t % LOOK_EVERY == 0:
            yield _looked(scene, restored, judged, factor)


def _exposed(scene: Scene, t: int, first: int) -> tuple[Volume, Volume | None]:
    """Expose the stack of a time point, each reference behind its twin."""
    plan, wanted = scene.config.acquisition, heights(scene.config.acquisition, t)
    light = plan.reference.light if plan.reference else 1.0
    number, low, bright = first, [], []
    for z in range(plan.z_planes):
        for into, exposure_ms in ((low, 10.0), (bright, 10.0 * light))[: 1 + (z in wanted)]:
            z_um = plan.z_start_um + z * plan.z_step_um
            into.append(scene.expose(Exposure(number, 0.0, 0.0, z_um, exposure_ms, scene.config.laser_power)))
            number += 1
    planes = tuple(range(plan.z_planes))
    volume = _volume(VolumeKey(t), np.stack(low), planes, 10.0)
    return volume, _volume(VolumeKey(t, 0, 1), np.stack(bright), wanted, 10.0 * light) if bright else None


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


def _looked(scene: Scene, restored: Restored, judged: Restored, factor: float) -> Look:
    truth = scene.truth(restored.volume.key)
    errors = np.abs(restored.maps["mean"] - truth)
    held = [float(np.mean(errors <= factor * one.maps["laplace_scale"])) for one in (judged, restored)]
    measured, planes = judged.trust and judged.trust.measured, heights(scene.config.acquisition, restored.key.t)
    off = None
    if measured and measured.t == restored.key.t and planes:
        off = measured.psnr_db - psnr_db(restored.maps["mean"][list(planes)], truth[list(planes)])
    return Look(restored.key.t, *held, off)


def _figures(looks: list[Look]) -> dict[str, float]:
    behind = [look for look in looks if look.t > 0]
    off = [abs(look.psnr_off_db) for look in looks if look.psnr_off_db is not None]
    figures = {"psnr_off_median_db": float(np.median(off)), "psnr_off_worst_db": max(off)}
    for name, shares in (
        ("with", [look.with_references for look in behind]),
        ("without", [look.without for look in behind]),
    ):
        figures |= {f"coverage_{name}_least": min(shares), f"coverage_{name}_most": max(shares)}
        figures[f"coverage_{name}_mean"] = float(np.mean(shares))
    return figures


def _show(looks: list[Look], figures: dict[str, float]) -> None:
    say(f"{'t':>5} {'with':>7} {'without':>8} {'measured less true PSNR':>24}")
    for look in looks[:: max(1, len(looks) // 24)]:
        off = "-" if look.psnr_off_db is None else f"{look.psnr_off_db:+.2f} dB"
        say(f"{look.t:5d} {look.with_references:7.1%} {look.without:8.1%} {off:>24}")
    for name, value in figures.items():
        say(f"{name}: {value:.4g}")
