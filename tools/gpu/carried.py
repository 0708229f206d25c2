"""Packages that were carried to a machine without network: unpacked beside what is installed, which stays as it is."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = {
    "onnxruntime": "onnxruntime-gpu",
    "onnx": "onnx",
    "numpy": "numpy",
    "pydantic": "pydantic (and pydantic-core, annotated-types, typing-inspection, typing-extensions)",
    "psutil": "psutil",
}
"""Modules, and the wheels that bring them; CUDA and cuDNN come with torch, or as nvidia-* wheels."""


@contextmanager
def within_reach(wheels: Path | None) -> Iterator[None]:
    """Put wheels, whole or cut into pieces by ``split -d``, before all that is installed; return what still lacks."""
    with tempfile.TemporaryDirectory(prefix="care-live-wheels-") as folder:
        if wheels is not None:
            unpack(wheels, Path(folder))
            sys.path.insert(0, folder)
        importlib.invalidate_caches()
        missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
        if missing:
            sys.exit(f"gpu_check: {', '.join(missing)} not installed: pip install 'care-live[gpu]', or --wheels DIR")
        try:
            yield
        finally:
            if folder in sys.path:
                sys.path.remove(folder)


def unpack(wheels: Path, folder: Path) -> None:
    """Unpack every wheel of a folder; a wheel is a zip archive, and needs no pip."""
    for wheel in sorted(wheels.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(folder)
    for first in sorted(wheels.glob("*.whl.00")):
        with tempfile.TemporaryFile() as joined:
            for piece in sorted(wheels.glob(f"{first.stem}.[0-9]*")):
                with piece.open("rb") as part:
                    shutil.copyfileobj(part, joined)
            zipfile.ZipFile(joined).extractall(folder)


def load_cuda() -> None:
    """Load CUDA's libraries from wherever they are installed: onnxruntime looks only beside itself."""
    import onnxruntime

    nvidia = importlib.util.find_spec("nvidia")
    roots = [Path(root) for root in (nvidia.submodule_search_locations or ())] if nvidia is not None else []
    for folder in sorted(lib for root in roots for lib in root.glob("*/lib")):
        if any(folder.glob("libcudart.so.*")):
            onnxruntime.preload_dlls(cudnn=False, directory=str(folder))
        if any(folder.glob("libcudnn.so.*")):
            onnxruntime.preload_dlls(cuda=False, directory=str(folder))
    onnxruntime.preload_dlls()
