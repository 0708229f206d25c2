"""Pictures are prepared for napari in a thread of their own."""

from __future__ import annotations

import threading

from care_live.viewer.napari.preparer import Preparer
from tests.make.scenes import filled, scene
from tests.make.waiting import until


def test_only_the_newest_is_kept_and_one_call_is_pending():
    index, calls, ready = filled(), [], threading.Event()
    preparer = Preparer(index, lambda: (calls.append(1), ready.set()))
    try:
        index.cache.put(scene(0))
        assert ready.wait(60)
        for t in range(1, 6):
            index.cache.put(scene(t))
        until(lambda: preparer.waiting.volumes[0].key.t == 5)
        prepared = preparer.take()
        assert len(calls) == 1 and prepared.volumes[0].key.t == 5
        assert [drawing.what for drawing in prepared.drawings] == ["raw", "mean", "laplace_scale"]
        assert preparer.take() is None
        preparer.want(2)
        until(lambda: preparer.waiting is not None)
        assert preparer.take().volumes[0].key.t == 2
    finally:
        preparer.close()
