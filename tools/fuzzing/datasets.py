"""Where the real data lie that sound inputs are cut from."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CARE_LIVE_DATA", ROOT.parent / "shared" / "data"))


def there(*names: str) -> list[Path]:
    """Return those of the named files and folders that are on this machine."""
    return [DATA / name for name in names if (DATA / name).exists()]
