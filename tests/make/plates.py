"""Small plates in OME-Zarr 0.5, on a disk or at any address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray


def write_plate(address: str, wells: Sequence[str], fields: NDArray[Any]) -> None:
    """Write a plate.

    Parameters
    ----------
    wells : such as ``"A/1"``
    fields : (n, z, y, x), the same number for each well, in the order of the wells
    """
    root = zarr.open_group(address, mode="w", zarr_format=3)
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
    for well, stacks in zip(wells, np.split(fields, len(wells)), strict=True):
        for number, stack in enumerate(stacks):
            image = root.create_group(f"{well}/{number}")
            image.create_array("0", data=stack)
            image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
        images = [{"path": str(number)} for number in range(len(stacks))]
        root[well].attrs["ome"] = {"version": "0.5", "well": {"images": images}}
    rows, columns = (sorted({well.split("/")[i] for well in wells}) for i in (0, 1))
    places = [(well, rows.index(well.split("/")[0]), columns.index(well.split("/")[1])) for well in wells]
    root.attrs["ome"] = {
        "version": "0.5",
        "plate": {
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": column} for column in columns],
            "wells": [{"path": well, "rowIndex": row, "columnIndex": column} for well, row, column in places],
        },
    }
