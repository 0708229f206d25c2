"""A writer that says on stdout what was acknowledged, to be killed at any moment."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from care_live.images import VolumeKey
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

SHAPE = (4, 64, 64)


def write_on(folder: Path) -> None:
    """Add raw and restored volumes for ever, and restore again every third one."""
    writer = open_writer(folder, make_plan(shape=SHAPE, endless=True))
    print("opened", flush=True)
    for t in itertools.count(len(writer.raw_keys())):
        volume = make_volume(VolumeKey(t), SHAPE)
        writer.write_raw(volume)
        print(f"raw {t}", flush=True)
        writer.write_restored(make_restored(volume))
        print(f"restored {t}", flush=True)
        if t % 3 == 2:
            again = make_volume(VolumeKey(t - 1), SHAPE)
            writer.write_restored(make_restored(again, low=float(t)))
            print(f"again {t - 1}", flush=True)


if __name__ == "__main__":
    write_on(Path(sys.argv[1]))
