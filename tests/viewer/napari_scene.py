"""Run by test_napari in a process of its own: a real publisher, a real run, a real napari window."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from care_live.config import PublishConfig, StoreConfig
from care_live.images import ModelIdentity
from care_live.publish.publisher import Publisher
from care_live.store import open_run
from care_live.viewer.napari.layers import Layers
from care_live.viewer.napari.widget import Watch
from tests.viewer.test_live_and_history import STARTED, restored


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        QApplication.processEvents()
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def main(folder: Path) -> None:
    writer = open_run(StoreConfig(directory=folder, keep_free_mib=0), STARTED)
    for t in range(3):
        writer.write_raw(restored(t).volume)
        writer.write_restored(restored(t))
    writer.close()

    shown_in: list[threading.Thread] = []
    show = Layers.show

    def noting(self: Layers, *arguments: object) -> bool:
        shown_in.append(threading.current_thread())
        return show(self, *arguments)

    Layers.show = noting
    viewer = napari.Viewer(show=True)
    viewer.grid.enabled = True
    watching = Watch(viewer)
    viewer.window.add_dock_widget(watching, name="care_live", area="right")
    config = PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")
    with Publisher(config) as publisher:
        publisher.start(STARTED, ModelIdentity("worm3d", "0" * 64))
        watching.start(publisher.address_pull, folder / "run-1")
        until(lambda: "raw" in viewer.layers, "history is shown before anything live comes")
        publisher.publish(restored(3))
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(3).volume.pixels), "follows")
        assert [layer.name for layer in viewer.layers] == ["raw", "restored", "relative uncertainty"]
        assert np.array_equal(viewer.layers["restored"].data, restored(3).mean)
        assert tuple(viewer.layers["raw"].scale) == (2.0, 0.5, 0.5)
        assert "not for intensity quantification" in viewer.text_overlay.text
        assert viewer.layers["relative uncertainty"].data.max() > 0

        until(lambda: watching._slider.maximum() == 3, "the slider reaches the newest")
        watching._slider.sliderMoved.emit(1)
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(1).volume.pixels), "scrubs")
        publisher.publish(restored(4))
        until(lambda: watching._slider.maximum() == 4, "the slider knows the newer one")
        assert np.array_equal(viewer.layers["raw"].data, restored(1).volume.pixels), "following stole the slider"
        viewer.layers["raw"].contrast_limits = (50, 500)
        watching._live.setChecked(True)
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(4).volume.pixels), "follows again")
        assert tuple(viewer.layers["raw"].contrast_limits) == (50, 500), "a person's contrast stays"

        picture = viewer.screenshot(canvas_only=False, flash=False)
        assert picture[..., :3].max() > 200
        from PIL import Image

        Image.fromarray(picture).save(folder / "napari.png")
        watching.stop()
    assert set(shown_in) == {threading.main_thread()}
    viewer.close()
    left = [thread.name for thread in threading.enumerate() if thread.name in ("napari preparer", "viewer feed")]
    assert not left, left
    print("all is well")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
