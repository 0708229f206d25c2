"""Camera errors under pycromanager, which hides some of them and repeats the failing call for ever at others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from care_live.errors import SourceError

_CAMERA_ERRORS = 50
"""Errors in a row while one image is fetched, after which it is given up: the engine would try for ever."""


class CameraGuard:
    """Wraps two methods of a core: pycromanager hides some of their errors, and repeats others for ever.

    Parameters
    ----------
    core : a core of this process; two of its methods are replaced
    give_up : called when one image cannot be fetched, so often that it never will
    """

    def __init__(self, core: Any, give_up: Callable[[Exception], None]) -> None:
        self._snap, self._fetch = core.snap_image, core.get_tagged_image
        self._give_up = give_up
        self._n_errors = 0
        self.last_error: str | None = None
        core.snap_image, core.get_tagged_image = self.snap, self.fetch

    def snap(self) -> None:
        """Snap an image, and keep the error if that fails."""
        try:
            self._snap()
        except Exception as error:
            self.last_error = one_line(error)
            raise

    def fetch(self, *arguments: Any, **options: Any) -> Any:
        """Fetch the snapped image, and give up after many errors."""
        try:
            image = self._fetch(*arguments, **options)
        except Exception as error:
            self._n_errors += 1
            self.last_error = one_line(error)
            if self._n_errors == _CAMERA_ERRORS:
                self._give_up(SourceError(f"the camera gives no image: {self.last_error}"))
            raise
        self._n_errors = 0
        return image


def one_line(error: BaseException) -> str:
    """Return an error's first line that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
