"""All images of a run, as one OME-Zarr collection: ``RUN/PRODUCT/POSITION`` (see layout.md)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care_live import __version__
from care_live.errors import StoreError
from care_live.images import NetworkInUse, Restored, VolumeKey
from care_live.maps import folder_of
from care_live.recorded.run_records import STORED_PRODUCTS, RunBegan, StoredProduct
from care_live.store import ome
from care_live.store.fsync import sync_up_to, translated
from care_live.store.plates import PlateGroups
from care_live.store.shards import folder_of_position, positions
from care_live.store.zarr_arrays import write_group
from care_live.store.zarr_images import ImageGroup

PYRAMID = "pyramid"
"""In the summary of a run whose images have coarser levels; a run goes on as it was begun."""


class Collection:
    """The image groups of one run, made when their first volume comes.

    Raises
    ------
    StoreError
        A group exists and cannot be opened, or the disk is full, missing or read-only.
    """

    def __init__(self, run: Path, began: RunBegan, *, mantissa_bits: int) -> None:
        self._run = run
        self._began, self._planned = began, began.plan().stacks
        self._mantissa_bits = mantissa_bits
        self._images: dict[tuple[StoredProduct, int], ImageGroup] = {}
        self._attributes: dict[tuple[StoredProduct, int], dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._unsynced: set[tuple[StoredProduct, int]] = set()
        """Images of an earlier writer, which may have been killed before it synced them."""
        self._outdated: set[tuple[StoredProduct, int]] = set()
        """Images whose metadata do not name the newest network yet."""
        with translated(f"cannot look for the images of {run}", run):
            places = [(product, p) for product in STORED_PRODUCTS for p in positions(run, product, began)]
        for product, p in places:
            self._open(product, p)
        write_group(run, {"ome": {"version": "0.5", "bioformats2raw.layout": 3}, "care_live": self._provenance()})
        self._list_series(self._attributes)

    @property
    def places(self) -> frozenset[tuple[StoredProduct, int]]:
        """Product and stage position of every image."""
        return frozenset(self._images)

    def existing(self, product: StoredProduct, p: int) -> ImageGroup:
        """Return an image that some volume has been written to.

        Raises
        ------
        StoreError
            There is no such image.
        """
        image = self._images.get((product, p))
        if image is None:
            raise StoreError(f"run {self._run} has no {product} volume of position {p}")
        return image

    def image(
        self, product: StoredProduct, key: VolumeKey, pixels: NDArray[Any], voxel_size_um: tuple[float, float, float]
    ) -> ImageGroup:
        """Return the image into which a volume belongs; make it, or add the volume's channel, where needed."""
        place = (product, key.p)
        if place not in self._images:
            depth = max(pixels.shape[0], self._planned_depth(key.p) if product == "raw" else 0)
            self.make(product, key.p, (depth, pixels.shape[1], pixels.shape[2]), pixels.dtype.name)
        if key.c >= self._n_described(place):
            self._describe(product, key, ome.window(product, pixels), voxel_size_um)
        self._bring_up_to_date(place)
        return self._images[place]

    def make(self, product: StoredProduct, p: int, shape: tuple[int, int, int], dtype: str) -> ImageGroup:
        """Return the image of a position; made for volumes (z, y, x), without metadata, where it does not exist."""
        if (product, p) not in self._images:
            n_coarser = ome.n_coarser(shape[1:]) if self._began.summary.get(PYRAMID) is True else 0
            image = ImageGroup.create(self._folder(product, p), shape, dtype, n_coarser=n_coarser)
            self._images[product, p] = self._synced(image)
        return self._images[product, p]

    def _synced(self, image: ImageGroup) -> ImageGroup:
        """Return an image once it is on the disk with all folders up to the run, any of which may be new."""
        with translated(f"cannot sync image {image.path}", image.path):
            sync_up_to(image.path / "0" / "zarr.json", self._run)
        return image

    def describe(
        self, product: StoredProduct, key: VolumeKey, window: ome.Window, voxel_size_um: tuple[float, float, float]
    ) -> None:
        """Add a volume's channel to the metadata of its image, which exists, where it is not described yet."""
        if key.c >= self._n_described((product, key.p)):
            self._describe(product, key, window, voxel_size_um)
        self._bring_up_to_date((product, key.p))

    def remove(self, product: StoredProduct, p: int) -> None:
        """Remove an image that was made and has no volume; with the last one of a product its folder."""
        with translated(f"cannot remove the empty image of {product}, position {p}", self._run):
            shutil.rmtree(self._folder(product, p))
            del self._images[product, p]
            if not any(other == product for other, _ in self._images):
                shutil.rmtree(self._run / product)

    def describe_network(self, network: NetworkInUse) -> None:
        """Have a network's card and its channels written into each image with the next volume that comes there.

        Not at once: a plate has thousands of images, and raw volumes would wait meanwhile.
        """
        name, sha256 = network.identity.name, network.identity.sha256
        self._models.pop(sha256, None)  # the last one of some channels restores them
        self._models[sha256] = {"name": name, "sha256": sha256, "card": dict(network.card)}
        if network.channels:
            self._models[sha256]["channels"] = list(network.channels)
        self._outdated = {place for place in self._attributes if place[0] != "raw"}

    def _bring_up_to_date(self, place: tuple[StoredProduct, int]) -> None:
        """Sync an image that another writer has made, and write the networks into one that lacks the newest."""
        if place in self._unsynced:
            self._synced(self._images[place])
            self._unsynced.discard(place)
        if place in self._outdated:
            attributes = self._attributes[place]
            attributes["care_live"]["models"] = list(self._models.values())
            self._images[place].describe(attributes)
            self._outdated.discard(place)

    # -- metadata -------------------------------------------------------------------------------------------

    def _open(self, product: StoredProduct, p: int) -> None:
        image = self._images[product, p] = ImageGroup(self._folder(product, p), writable=True)
        self._unsynced.add((product, p))
        try:
            attributes = json.loads((image.path / "zarr.json").read_bytes())["attributes"]
            channels, described = attributes["ome"]["omero"]["channels"], attributes["care_live"]
            whole = isinstance(channels, list) and bool(channels[0]["window"])  # what `_describe` goes on from
            models = {str(model["sha256"]): dict(model) for model in described.get("models", [])}
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return  # a crash came between the array and its metadata: the next volume writes it anew
        if whole:
            self._attributes[product, p] = attributes
            self._models |= models

    def _n_described(self, place: tuple[StoredProduct, int]) -> int:
        attributes = self._attributes.get(place)
        return 0 if attributes is None else len(attributes["ome"]["omero"]["channels"])

    def _describe(
        self, product: StoredProduct, key: VolumeKey, window: ome.Window, voxel_size_um: tuple[float, float, float]
    ) -> None:
        """Write the metadata of an image whose volumes so far have fewer channels than this one."""
        place = (product, key.p)
        known = self._attributes[place]["ome"]["omero"]["channels"] if place in self._attributes else []
        limits = ome.limits(self._images[place].dtype, window)
        channels = known + [
            ome.channel(self._channel_name(c), c, window=window, limits=limits) for c in range(len(known), key.c + 1)
        ]
        name = f"{product} {self._position_name(key.p)}"
        image = ome.image(
            name,
            voxel_size_um=voxel_size_um,
            interval_s=self._began.interval_s,
            channels=channels,
            n_coarser=self._images[place].n_coarser,
        )
        described = self._provenance() | ome.meaning(product)
        if product != "raw":
            described |= {"models": list(self._models.values()), "mantissa_bits": self._mantissa_bits}
        attributes = {"ome": image, "care_live": described}
        self._describe_product(product, key.p, {key.p, *(p for other, p in self._attributes if other == product)})
        self._images[place].describe(attributes)
        self._list_series({*self._attributes, place})
        self._attributes[place] = attributes  # only now: where a disk refused, the next volume tries again

    def _describe_product(self, product: StoredProduct, p: int, positions: set[int]) -> None:
        plate = PlateGroups(self._run, self._began)
        described = {"care_live": self._provenance() | ome.meaning(product)}
        write_group(self._run / product, plate.attributes(positions) | described)
        plate.write_well(product, p, positions)

    def _folder(self, product: StoredProduct, p: int) -> Path:
        return self._run / product / folder_of_position(self._began, p)

    def _list_series(self, places: Iterable[tuple[StoredProduct, int]]) -> None:
        order = sorted(places, key=lambda place: (STORED_PRODUCTS.index(place[0]), place[1]))
        series = [self._folder(*place).relative_to(self._run).as_posix() for place in order]
        write_group(self._run / "OME", {"ome": {"version": "0.5", "series": series}})

    def _provenance(self) -> dict[str, Any]:
        made = {key: self._began.summary[key] for key in ("restored_with", "versions") if key in self._began.summary}
        return {"run_id": self._began.run_id, "care_live": __version__, "began_us": self._began.at_us} | made

    def _planned_depth(self, p: int) -> int:
        return max((len(planes) for key, planes in self._planned.items() if key.p == p), default=0)

    def _channel_name(self, c: int) -> str:
        return self._began.channels[c] if c < len(self._began.channels) else f"channel {c}"

    def _position_name(self, p: int) -> str:
        return self._began.positions[p] if p < len(self._began.positions) else f"position {p}"


class MapArray(NamedTuple):
    """One map of a restored volume."""

    pixels: NDArray[np.float32]
    """(z, y, x)."""
    voxel_size_um: tuple[float, float, float]
    """(z, y, x)."""


def products_of(restored: Restored) -> dict[StoredProduct, MapArray]:
    """Return the maps of a restored volume by the image that each belongs to."""
    found: dict[StoredProduct, MapArray] = {}
    for head, pixels in restored.maps.items():
        side = 2 ** restored.level_of(head)
        z_um, y_um, x_um = restored.voxel_size_um
        found[folder_of(head)] = MapArray(pixels, (z_um, y_um * side, x_um * side))
    return found
