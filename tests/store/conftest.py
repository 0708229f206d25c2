"""Runs with a volume of each kind."""

from __future__ import annotations

import pytest

from care_live.images import NetworkInUse, NotRestored, RunEnded
from tests.make.stored import MODEL, make_plan, make_restored, make_volume, open_writer


@pytest.fixture(scope="module")
def full_run(tmp_path_factory):
    """Two time points of two positions and two channels, all restored but the last."""
    folder = tmp_path_factory.mktemp("full")
    writer = open_writer(folder, make_plan(n_t=2, n_p=2, n_c=2))
    writer.describe_network(NetworkInUse(MODEL, {"name": "worm3d", "task": "denoise"}))
    keys = sorted(make_plan(n_t=2, n_p=2, n_c=2).stacks)
    for key in keys:
        volume = make_volume(key)
        writer.write_raw(volume)
        if key != keys[-1]:
            writer.write_restored(make_restored(volume))
    writer.note(NotRestored(keys[-1], "skipped", "the restorer lagged"))
    writer.note(RunEnded("finished", n_delivered=24))
    writer.close()
    return folder / "run"
