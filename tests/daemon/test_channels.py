"""Networks of several channels: a channel that is skipped or lost costs no raw volume and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.images import VolumeKey
from care_live.store import RunReader
from tests.make.networks import save_network
from tests.make.scripted import Script, Scripted, frames, pixels_of, plan, scripted_daemon, started

pytestmark = [pytest.mark.slow]
N_TIMES = 22


def came(t: int, c: int) -> bool:
    """Channel 1 comes at every second time point."""
    return not (t % 2 and c)


@pytest.mark.parametrize("policy", ["latest", "defer"])
@pytest.mark.parametrize("planned", [True, False], ids=["skipped by the plan", "lost"])
def test_a_channel_that_does_not_come_costs_no_raw_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: bool, policy: str
) -> None:
    keys = [VolumeKey(t, 0, c) for t in range(N_TIMES) for c in range(2)]
    coming = [key for key in keys if came(key.t, key.c)]

    def script() -> Script:
        yield started(plan(coming if planned else keys))
        for n, key in enumerate(coming, 1):
            yield from frames(key)
            while daemon.status().stored_raw < n and not daemon.status().refused_volumes:
                yield None  # the disk keeps up

    model = save_network(tmp_path / "two.onnx", c_in=2)
    daemon, _ = scripted_daemon(
        tmp_path, Scripted(script()), monkeypatch,
        restore={"model": str(model), "policy": policy}, assemble={"memory_mib": 1},
    )  # fmt: skip
    status = daemon.run()
    assert (status.refused_volumes, status.stored_raw) == (0, len(coming))
    reader = RunReader(tmp_path / "runs" / "test")
    assert sorted(reader.keys("raw")) == sorted(coming)
    assert all((reader.read("raw", key) == pixels_of(key)).all() for key in coming)
    assert reader.keys("restored") == [key for key in coming if not key.t % 2]
    alone = {key for key in coming if key.t % 2}
    assert {key for key, note in reader.not_restored().items() if "channel" in note.detail} >= alone
