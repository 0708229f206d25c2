"""Voxel sizes, channels and times in OME-XML and ImageJ headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tifffile

from care_live.images import PlaneIndex
from care_live.recorded.recording import Stamp, names_of, size_um
from care_live.recorded.tags import number_of

UNITS_UM: Mapping[str, float] = {
    "m": 1e6, "meter": 1e6, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "inch": 25400.0, "nm": 1e-3, "nanometer": 1e-3,
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "micrometer": 1.0, "angstrom": 1e-4,
}  # fmt: skip
"""Micrometres in one unit of length, as OME-XML, NGFF and ImageJ write them."""
UNITS_S: Mapping[str, float] = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3, "us": 1e-6, "µs": 1e-6, "microsecond": 1e-6,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What a TIFF header says beside its shape."""

    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_names: tuple[str, ...] = ()
    position_names: tuple[str, ...] = ()
    interval_s: float | None = None
    stamps: Mapping[PlaneIndex, Stamp] = field(default_factory=dict)
    """Per plane, where the file has them."""

    def channels(self, n: int) -> tuple[str, ...]:
        """Return one name a channel, made up where the file has none."""
        return names_of("channel", self.channel_names, n)

    def positions(self, n: int) -> tuple[str, ...]:
        """Return one name a stage position, made up where the file has none."""
        return names_of("position", self.position_names, n)

    def stamp(self, index: PlaneIndex) -> Stamp:
        if index in self.stamps:
            return self.stamps[index]
        return Stamp() if self.interval_s is None else Stamp(elapsed_us=round(index.t * self.interval_s * 1e6))


def describe(file: tifffile.TiffFile, axes: str) -> About:
    """Read a TIFF's header."""
    if file.is_ome and file.ome_metadata:
        return _from_ome(tifffile.xml2dict(file.ome_metadata))
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file, axes)
    return About()


def _from_imagej(file: tifffile.TiffFile, axes: str) -> About:
    header = file.imagej_metadata or {}
    unit = str(header.get("unit", "")).replace("\\u00B5", "µ").strip()
    to_um = UNITS_UM.get(unit.removesuffix("s") if unit not in UNITS_UM else unit)
    if to_um is None:
        voxel = (1.0, 1.0, 1.0)
    else:
        spacing = number_of(header, "spacing") or 1.0
        sizes = (spacing * to_um, _pixel(file, "YResolution", to_um), _pixel(file, "XResolution", to_um))
        voxel = (size_um(sizes[0]), size_um(sizes[1]), size_um(sizes[2]))
    interval = number_of(header, "finterval") if "T" in axes else None
    to_s = UNITS_S.get(str(header.get("tunit", "s")), 1.0)
    return About(voxel_size_um=voxel, interval_s=None if interval is None else max(0.0, interval * to_s))


def _pixel(file: tifffile.TiffFile, tag: str, to_um: float) -> float:
    """Return the size of a pixel from a TIFF resolution, pixels per unit as a fraction."""
    try:
        pixels, units = file.pages[0].tags.valueof(tag)  # type: ignore[union-attr]
        return float(units / pixels * to_um)
    except (TypeError, ValueError, ZeroDivisionError):
        return 1.0


def _from_ome(tree: dict[str, Any]) -> About:
    images = _listed(tree.get("OME", {}).get("Image"))
    pixels = [image.get("Pixels", {}) for image in images]
    if not pixels:
        return About()
    stamps = {index: stamp for p, one in enumerate(pixels) for index, stamp in _stamps(one, p)}
    interval = number_of(pixels[0], "TimeIncrement")
    unit = UNITS_S.get(str(pixels[0].get("TimeIncrementUnit", "s")), 1.0)
    return About(
        voxel_size_um=(_size(pixels[0], "Z"), _size(pixels[0], "Y"), _size(pixels[0], "X")),
        channel_names=tuple(str(channel.get("Name", "")) for channel in _listed(pixels[0].get("Channel"))),
        position_names=tuple(_stage_label(image) for image in images),
        interval_s=None if interval is None else max(0.0, interval * unit),
        stamps=stamps,
    )


def _stage_label(image: dict[str, Any]) -> str:
    label = image.get("StageLabel")
    return str(label.get("Name", "")) if isinstance(label, dict) else ""


def _size(pixels: dict[str, Any], axis: str) -> float:
    size = number_of(pixels, f"PhysicalSize{axis}")
    unit = UNITS_UM.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
    return 1.0 if not size or unit is None else size_um(size * unit)


def _stamps(pixels: dict[str, Any], p: int) -> list[tuple[PlaneIndex, Stamp]]:
    found = []
    for plane in _listed(pixels.get("Plane")):
        delta = number_of(plane, "DeltaT")
        exposure = number_of(plane, "ExposureTime")
        to_s = UNITS_S.get(str(plane.get("DeltaTUnit", "s")), 1.0)
        to_exposure_s = UNITS_S.get(str(plane.get("ExposureTimeUnit", "s")), 1.0)
        index = PlaneIndex(int(plane["TheT"]), p, int(plane["TheC"]), int(plane["TheZ"]))
        elapsed = None if delta is None else round(delta * to_s * 1e6)
        found.append((index, Stamp(elapsed, None, None if exposure is None else exposure * to_exposure_s * 1e3)))
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
