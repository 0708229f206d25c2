"""Errors of the readers' libraries on damaged bytes become a SourceError on one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from care_live.errors import CareLiveError, SourceError
from care_live.images import Counts, PlaneIndex, read_only
from care_live.recorded.recording import Contents, Recording, Stamp, converted

_MAX_CHARACTERS = 300


@contextlib.contextmanager
def only_our_errors(what: str) -> Iterator[None]:
    """Turn an exception of tifffile, zarr, numpy or the operating system into one line that names *what*.

    Raises
    ------
    SourceError
        Whatever was raised, of ours apart: parsers fail on damaged bytes with every kind of exception.
    """
    try:
        yield
    except CareLiveError:
        raise
    except Exception as error:
        says = " ".join(str(error).split())[:_MAX_CHARACTERS]
        raise SourceError(f"{what} cannot be read: {type(error).__name__}: {says}") from error


class GuardedRecording:
    """A recording whose errors are SourceErrors that name the plane, and whose pixels are of the type of its plan."""

    def __init__(self, path: str, recording: Recording) -> None:
        self._path = path
        self._recording = recording

    @property
    def contents(self) -> Contents:
        return self._recording.contents

    def read_plane(self, index: PlaneIndex) -> Counts:
        """Return one plane, (y, x).

        Raises
        ------
        SourceError
            The plane is not whole; the message names it.
        """
        where = f"plane t={index.t} p={index.p} c={index.c} z={index.z} of {self._path}"
        try:
            with only_our_errors("it"):
                return self._checked(self._recording.read_plane(index))
        except SourceError as error:
            raise SourceError(f"{where}: {error}") from error

    def _checked(self, pixels: Counts) -> Counts:
        plan = self.contents.plan
        wanted = self.contents.pixels or plan.dtype
        if pixels.shape != plan.shape_px or pixels.dtype.name != wanted:
            raise SourceError(
                f"{pixels.dtype.name} of shape {pixels.shape}; wanted {wanted} of {plan.shape_px} as the first has"
            )
        return pixels if wanted == plan.dtype else read_only(converted(pixels, plan.dtype))

    def stamp(self, index: PlaneIndex) -> Stamp:
        with only_our_errors(str(self._path)):
            return self._recording.stamp(index)

    def close(self) -> None:
        self._recording.close()
