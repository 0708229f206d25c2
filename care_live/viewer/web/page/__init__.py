"""The page's own files, read once: a request names one of them and never a path."""

from __future__ import annotations

from importlib import resources
from pathlib import PurePosixPath

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def read_page() -> dict[str, tuple[bytes, str]]:
    """Return all files of the page: name → (content, media type)."""
    return {
        file.name: (file.read_bytes(), _TYPES[PurePosixPath(file.name).suffix])
        for file in resources.files(__name__).iterdir()
        if PurePosixPath(file.name).suffix in _TYPES
    }
