"""What appears in the folder that Micro-Manager saves to: data sets to follow, and formats that cannot be."""

from __future__ import annotations

import itertools
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from care_live.errors import SourceError
from care_live.recorded.ndtiff_index import INDEX_NAME

_OTHER_FORMATS = {
    "image stack file": ("*_MMStack*.ome.tif",),
    "separate image files": ("img_*.tif", "*/img_*.tif"),
}
"""As Micro-Manager's window names them, and what it writes into the folder of an acquisition."""


class OtherImages(NamedTuple):
    """Images that only their writer can read while they are written."""

    folder: Path
    format_name: str

    def error(self) -> SourceError:
        return SourceError(
            f"{self.folder} gets images in Micro-Manager's format {self.format_name!r}, which cannot be followed: stop "
            "the acquisition, choose the format NDTiff under Save Images in its window, and start both again"
        )


def data_sets(folder: Path) -> set[Path]:
    """Return the NDTiff data sets right in a folder, and in the folders of their pyramids."""
    found = itertools.chain(folder.glob(f"*/{INDEX_NAME}"), folder.glob(f"*/Full resolution/{INDEX_NAME}"))
    return {index.parent for index in found}


def folders(folder: Path) -> set[Path]:
    """Return what is right in a folder."""
    return set(folder.iterdir())


def other_images(folder: Path, old: Set[Path]) -> OtherImages | None:
    """Look into the folders that were not there before."""
    for new in sorted(folders(folder) - old):
        for name, patterns in _OTHER_FORMATS.items():
            if any(any(new.glob(pattern)) for pattern in patterns):
                return OtherImages(new, name)
    return None
