"""One virtual environment for everything in this folder; standard library only.

``ensure(extras)`` makes ``.venv`` at the project's root, installs care_live with the named extras at the
versions of ``constraints.txt`` and runs the calling script again inside it. A stamp makes the second call
cost nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
TORCH = "torch==2.13.0"


def ensure(*extras: str) -> None:
    """Run the calling script inside .venv, with these extras of care_live installed."""
    _check_python()
    if not PYTHON.exists():
        print(f"making {HOME}", flush=True)
        venv.create(HOME, with_pip=True, clear=HOME.exists())
    stamp = HOME / f"care_live-{_fingerprint(extras)}"
    if not stamp.exists():
        _install(extras)
        stamp.touch()
    if Path(sys.prefix).resolve() != HOME.resolve():
        raise SystemExit(subprocess.call([str(PYTHON), *sys.argv]))


def inference_extra() -> str:
    """Return ``gpu`` where an NVIDIA driver answers, else ``cpu``; the two must never be mixed."""
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"
    return "gpu" if answer.returncode == 0 and b"GPU" in answer.stdout else "cpu"


def _check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise SystemExit(f"Python {sys.version.split()[0]} came; care_live wants 3.11, 3.12, 3.13 or 3.14")


def _fingerprint(extras: tuple[str, ...]) -> str:
    pinned = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes() + ",".join(sorted(extras)).encode()
    return hashlib.sha256(pinned).hexdigest()[:16]


def _install(extras: tuple[str, ...]) -> None:
    """Install; torch first and by its exact version, so that no package asks for another build of it."""
    if "train" in extras:
        _pip(TORCH)
    _pip("--editable", f"{ROOT}[{','.join(extras)}]")


def _pip(*request: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    print(f"installing {' '.join(request)}", flush=True)
    if subprocess.call([*command, "--constraint", str(CONSTRAINTS), *request], stderr=None) != 0:
        raise SystemExit(f"pip could not install {' '.join(request)}; its message is above")
