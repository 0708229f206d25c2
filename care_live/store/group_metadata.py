"""The metadata of a Zarr group, written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from care_live.store.fsync import make_folder, replace_file, translated


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write a Zarr group's metadata, whole; the folder is made where it is missing.

    Raises
    ------
    StoreError
        The disk is full, gone or read-only.
    """
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    with translated(f"cannot write the metadata of {path}", path):
        make_folder(path)
        replace_file(path / "zarr.json", json.dumps(metadata, indent=1).encode())
