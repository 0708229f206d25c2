"""The groups above the images of a recorded plate: in OME-NGFF each product is a plate that viewers open as one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from care_live.recorded.run_records import RunBegan, StoredProduct
from care_live.store.shards import is_plate
from care_live.store.zarr_arrays import write_group

_KEPT = ("name", "rows", "columns", "acquisitions")
"""Of what a source says of its plate."""


class PlateGroups:
    """Writes the groups above the images of a plate; nothing for a run without one."""

    def __init__(self, run: Path, began: RunBegan) -> None:
        self._run, self._began = run, began

    def attributes(self, positions: Iterable[int]) -> dict[str, Any]:
        """Return what a product's own group says of the plate, of those wells that have an image."""
        if not is_plate(self._began):
            return {}
        wells = sorted({_well(self._began.positions[p]) for p in positions})
        said = {key: self._began.summary["plate"][key] for key in _KEPT if key in self._began.summary["plate"]}
        rows, columns = (_names(said.get(axis), [well.split("/")[i] for well in wells]) for i, axis in _AXES)
        plate = said | {
            "rows": [{"name": name} for name in rows],
            "columns": [{"name": name} for name in columns],
            "wells": [{"path": well, **_place(well, rows, columns)} for well in wells],
            "field_count": max(sum(_well(name) == well for name in self._began.positions) for well in wells),
        }
        return {"ome": {"version": "0.5", "plate": plate}}

    def write_well(self, product: StoredProduct, p: int, positions: Iterable[int]) -> None:
        """Write the groups of the row and the well that a stage position lies in; these positions have an image."""
        if not is_plate(self._began):
            return
        well = _well(self._began.positions[p])
        write_group(self._run / product / well.split("/")[0], {})
        images = [self._image(one) for one in sorted(positions) if _well(self._began.positions[one]) == well]
        write_group(self._run / product / well, {"ome": {"version": "0.5", "well": {"images": images}}})

    def _image(self, p: int) -> dict[str, Any]:
        name = self._began.positions[p]
        acquisition = self._began.summary["plate"].get("acquisition_of", {}).get(name)
        image: dict[str, Any] = {"path": name.split("/")[2]}
        return image if acquisition is None else image | {"acquisition": acquisition}


_AXES = ((0, "rows"), (1, "columns"))


def _well(field: str) -> str:
    return field.rpartition("/")[0]


def _names(said: Any, used: list[str]) -> list[str]:
    """Return the names of a plate's rows or columns: as the source listed them, and those that it left out."""
    listed = [str(one.get("name")) for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return [*listed, *sorted(set(used) - set(listed))]


def _place(well: str, rows: list[str], columns: list[str]) -> dict[str, int]:
    row, column = well.split("/")
    return {"rowIndex": rows.index(row), "columnIndex": columns.index(column)}
