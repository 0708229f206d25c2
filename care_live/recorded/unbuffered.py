"""Reads a file by position and keeps nothing between two reads.

A buffer would keep what lies behind the bytes that were asked for. In a file that another program is still writing
these are zeros, and the next read would return them although the file has pixels there by then.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_live.errors import SourceError


class UnbufferedFile:
    """One file, open for reading.

    Raises
    ------
    SourceError
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.exists() and not path.is_file():  # to open a pipe would wait for its writer, for ever
                raise SourceError(f"{path} is not a file")
            self._file = path.open("rb", buffering=0)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise SourceError(f"cannot open {path}: {error}") from error
        if sys.platform == "linux":  # the system reads ahead, too, and a network's client keeps what it read
            with contextlib.suppress(OSError):  # it is advice: a file system may not take it
                os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    @property
    def n_bytes(self) -> int:
        """How long the file is now."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, start: int, n_bytes: int) -> NDArray[np.uint8]:
        """Return *n_bytes* bytes from byte *start* on, and never fewer.

        Raises
        ------
        SourceError
            The file ends before, or cannot be read.
        """
        try:
            if start + n_bytes > self.n_bytes:  # before memory is taken for what a damaged header announces
                raise self._ends_before(start + n_bytes)
            data = np.empty(n_bytes, np.uint8)
            self._fill(data.data, start)
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error}") from error
        return data

    def _fill(self, left: memoryview, start: int) -> None:
        self._file.seek(start)
        while left:
            n_read = self._file.readinto(left)
            if not n_read:
                raise self._ends_before(start + len(left))
            left, start = left[n_read:], start + n_read

    def _ends_before(self, wanted: int) -> SourceError:
        return SourceError(f"{self.path} ends after {self.n_bytes} bytes; wanted at least {wanted}: it is not whole")

    def close(self) -> None:
        self._file.close()
