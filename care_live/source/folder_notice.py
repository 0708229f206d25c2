"""Says what lies in a folder that is watched for images, while files come there and none of them is one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Set
from pathlib import Path

from care_live.source.growing_folder import folders, is_image_file

logger = logging.getLogger(__name__)

_SAY_S = 5.0
"""Files that have been there for this long without an image are named."""
_LOOK_S = 1.0
_MOST_NAMES = 3
_MOST_TIMES = 3
"""Where names end in numbers, each file is another kind."""


class FolderNotice:
    """Warns once of each kind of file that is no image, a few times at most.

    Parameters
    ----------
    folder : that is watched
    old : folders in it that were there before
    """

    def __init__(self, folder: Path, old: Set[Path]) -> None:
        self._folder, self._old = folder, old
        self._named: set[str] = set()
        self._n_times = 0
        self._since_s: float | None = None
        self._looked_s = -math.inf

    def look(self, now_s: float) -> None:
        """Look for files; name those whose time is due. To be called often: it looks once a second."""
        if now_s - self._looked_s < _LOOK_S or self._n_times == _MOST_TIMES:
            return
        self._looked_s = now_s
        found = [path for path in self._without_image() if path.suffix not in self._named]
        if not found:
            self._since_s = None
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= _SAY_S:
            self._named |= {path.suffix for path in found}
            self._n_times, self._since_s = self._n_times + 1, None
            logger.warning("%s", _what_is_there(self._folder, found))

    def _without_image(self) -> Iterator[Path]:
        """Give the files that are no images, in the folder itself and in new ones in it."""
        with contextlib.suppress(OSError):  # a network disk may be unreachable for a moment
            for folder in (self._folder, *sorted(folders(self._folder) - self._old)):
                yield from (path for path in sorted(folder.iterdir()) if _counts(path))


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and not is_image_file(path)


def _what_is_there(folder: Path, found: list[Path]) -> str:
    named = ", ".join(str(path.relative_to(folder)) for path in itertools.islice(found, _MOST_NAMES))
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return (
        f"waiting for images in {folder}: only other files are new or lie there ({named}{more}). An acquisition of "
        "Micro-Manager 2 that is saved there is followed from its first image"
    )
