"""A run that several workers restore, and what one worker makes of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from care_live.images import VolumeKey
from care_live.store import RunReader, verify

N_TIMES = 12
SHAPE = (8, 96, 96)
RESTORE = {"policy": "wait", "streaming": "off", "provider": "cpu", "threads": 1}


def order_of(folder: Path) -> list[int]:
    """Return the time points in the order in which the journal acknowledges their restored volumes."""
    lines = (folder / "runs" / "test" / "journal.jsonl").read_bytes().splitlines()
    records = [msgspec.json.decode(line)["record"] for line in lines]
    return [record["key"][0] for record in records if record["kind"] == "restored"]


def equal(folder: Path, by_one: RunReader, **tolerance: float) -> None:
    """Compare each volume with what one worker made, and the run with its checksums."""
    reader = RunReader(folder / "runs" / "test")
    assert reader.keys("restored") == by_one.keys("restored") == [VolumeKey(t) for t in range(N_TIMES)]
    for key in reader.keys("restored"):
        for product in ("restored", "laplace_scale"):
            np.testing.assert_allclose(reader.read(product, key), by_one.read(product, key), **tolerance)
    assert verify(folder / "runs" / "test").clean
