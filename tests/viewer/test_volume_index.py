"""Old volumes from the store and new ones from the wire."""

from __future__ import annotations

from care_live.config import StoreConfig
from care_live.images import VolumeKey
from care_live.store import open_run
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.volume_index import VolumeIndex
from tests.make.scenes import SMALL, STARTED, restored, scene


def test_the_library_has_old_volumes_from_the_store_and_new_ones_from_the_wire(tmp_path):
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    for t in range(3):
        writer.write_raw(restored(t).volume)
    writer.close()
    cache = LiveCache()
    index = VolumeIndex(cache, History(tmp_path / "run-1"))
    assert index.newest() == VolumeKey(2)
    cache.put(scene(3, shape=SMALL))
    assert index.newest() == VolumeKey(3)
    assert index.known() == tuple(VolumeKey(t) for t in range(4))
    assert [len(index.at(t, 0)) for t in (1, 3, 9)] == [1, 1, 0]
    assert index.at(3, 0)[0] is cache.get(VolumeKey(3))
