"""Run by test_napari in a process of its own: a real publisher, a real run, a real napari window."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
from msgspec.structs import replace
from napari.qt import get_qapp
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from care_live.cli.watching import view_command
from care_live.config import StoreConfig
from care_live.images import ModelIdentity, NetworkInUse
from care_live.publish.publisher import Publisher
from care_live.store import open_run
from care_live.verdict import Doubt, Trust
from care_live.viewer.napari.doubt_marks import _SIZE_PX, COLOURS
from care_live.viewer.napari.layers import Layers
from care_live.viewer.napari.widget import WatchWidget
from care_live.wire import keys
from care_live.wire.sockets import new_pair
from tests.make import samples
from tests.make.scenes import STARTED, restored


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 240
    while not condition():
        QApplication.processEvents()
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def docked(viewer: napari.Viewer) -> Iterator[WatchWidget]:
    """Give the widget in a window; its threads end with the block, also when that fails."""
    watching = WatchWidget(viewer)
    viewer.window.add_dock_widget(watching, name="care_live", area="right")
    try:
        yield watching
    finally:
        watching.stop()


def follows_and_scrubs(folder: Path) -> None:
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
    with Publisher(samples.config()) as publisher, docked(viewer) as watching:
        publisher.start(STARTED, NetworkInUse(ModelIdentity("worm3d", "0" * 64), {}))
        watching.start(publisher.address_pull, folder / "run-1")
        until(lambda: "raw" in viewer.layers, "history is shown before anything live comes")
        publisher.publish(restored(3))
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(3).volume.pixels), "follows")
        assert [layer.name for layer in viewer.layers] == ["raw", "restored", "relative uncertainty"]
        assert np.array_equal(viewer.layers["restored"].data, restored(3).mean)
        assert tuple(viewer.layers["raw"].scale) == (2.0, 0.5, 0.5)
        assert "not for intensity quantification" in viewer.text_overlay.text
        assert viewer.layers["relative uncertainty"].data.max() > 0

        until(lambda: watching.slider.maximum() == 3, "the slider reaches the newest")
        watching.slider.sliderMoved.emit(1)
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(1).volume.pixels), "scrubs")
        publisher.publish(restored(4))
        until(lambda: watching.slider.maximum() == 4, "the slider knows the newer one")
        assert np.array_equal(viewer.layers["raw"].data, restored(1).volume.pixels), "following stole the slider"
        viewer.layers["raw"].contrast_limits = (50, 500)
        watching.live.setChecked(True)
        until(lambda: np.array_equal(viewer.layers["raw"].data, restored(4).volume.pixels), "follows again")
        assert tuple(viewer.layers["raw"].contrast_limits) == (50, 500), "a person's contrast stays"

        marks_the_worst_place(viewer, watching, publisher)
        picture = viewer.screenshot(canvas_only=False, flash=False)
        assert picture[..., :3].max() > 200
        from PIL import Image

        Image.fromarray(picture).save(folder / "napari.png")
    assert set(shown_in) == {threading.main_thread()}
    viewer.close()
    check_that_no_thread_is_left()


def marks_the_worst_place(viewer: napari.Viewer, watching: WatchWidget, publisher: Publisher) -> None:
    doubts = (Doubt("invented", (1, 6, 9), 12.0), Doubt("missing", (3, 8, 2), 7.0))
    publisher.publish(replace(restored(5), trust=Trust("red", ("a nucleus was invented",), doubts)))
    until(lambda: "marks · raw" in viewer.layers, "a volume that contradicts the photons is marked")
    names = [layer.name for layer in viewer.layers]
    assert names[::2] == ["raw", "restored", "relative uncertainty"]
    assert names[1::2] == [f"marks · {name}" for name in names[::2]], "each lies on its image"
    assert viewer.grid.stride == 2
    assert len(set(map(str, viewer.layers["marks · raw"].symbol))) == 2, "of two shapes"
    until(lambda: watching.bar.words_at(watching.slider.maximum()) == "t 5: red. a nucleus was invented", "the line")
    watching.trust.worst.click()
    assert not watching.live.isChecked(), "a person who looks at a place stays there"
    assert viewer.dims.point[0] == 2.0 * 1
    watching.trust.next.click()
    assert viewer.dims.point[0] == 2.0 * 3
    watching.trust.marks.toggle()
    assert not any(layer.visible for layer in viewer.layers[1::2])
    publisher.publish(restored(6))
    watching.live.setChecked(True)
    until(lambda: not len(viewer.layers["marks · raw"].data), "the next volume has no marks")


def marks_a_place_of_the_past(folder: Path) -> None:
    """A run that goes on: a person goes back to its second volume, which is red, in more words than a dock is wide."""
    doubts = (Doubt("invented", (1, 6, 9), 12.0), Doubt("missing", (3, 8, 2), 7.0))
    reasons = tuple(f"reason {n}, in words that fill a line of the dock and more of the next one" for n in range(5))
    writer = open_run(StoreConfig(directory=folder, keep_free_mib=0), STARTED)
    for t in range(3):
        one = replace(restored(t), trust=Trust("red", reasons, doubts) if t == 1 else Trust("green"))
        writer.write_raw(one.volume)
        writer.write_restored(one)
    writer.close()
    viewer = napari.Viewer(show=True)
    with Publisher(samples.config()) as publisher, docked(viewer) as watching:
        publisher.start(STARTED, NetworkInUse(ModelIdentity("worm3d", "0" * 64), {}))
        watching.start(publisher.address_pull, folder / "run-1")
        until(lambda: watching.slider.maximum() == 2, "the history is known")
        watching.slider.sliderMoved.emit(0)
        until(lambda: shows(viewer, 0), "the first one")
        assert "marks · raw" not in viewer.layers
        watching.slider.setValue(1)
        watching.slider.sliderMoved.emit(1)
        until(lambda: shows(viewer, 1) and "marks · raw" in viewer.layers, "the red one and its marks")
        words = watching.trust.verdict
        assert all(reason in words.text() for reason in reasons)
        until(lambda: words.height() >= words.heightForWidth(words.width()) > 0, "all of the words are seen")
        watching.trust.worst.click()
        assert (watching.slider.value(), viewer.dims.point[0]) == (1, 2.0 * 1)
        assert "place 1 of 2: invented" in watching.trust.place.text() and "plane 2" in watching.trust.place.text()
        until(lambda: has_ring_around(viewer, doubts[0]), "the mark is drawn around its place")
        watching.trust.marks.toggle()
        until(lambda: not ring_px(viewer, doubts[0].kind).any(), "marks are hidden")
        watching.trust.marks.toggle()
        until(lambda: ring_px(viewer, doubts[0].kind).any(), "and back")
        watching.slider.sliderMoved.emit(2)
        until(lambda: not len(viewer.layers["marks · raw"].data), "the next volume has no marks")
        until(lambda: not ring_px(viewer, doubts[0].kind).any(), "and none is drawn")
        assert watching.trust.verdict.text().startswith("● green") and not watching.trust.worst.isEnabled()
    viewer.close()


def shows(viewer: napari.Viewer, t: int) -> bool:
    return "raw" in viewer.layers and np.array_equal(viewer.layers["raw"].data, restored(t).volume.pixels)


def ring_px(viewer: napari.Viewer, kind: str) -> np.ndarray:
    """Return where the picture has the colour of a kind of marks, (y, x) bool."""
    colour = [int(COLOURS[kind][at : at + 2], 16) for at in (1, 3, 5)]
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    return np.abs(picture - colour).sum(axis=-1) < 60


def has_ring_around(viewer: napari.Viewer, doubt: Doubt) -> bool:
    """Tell whether the coloured pixels surround a place as wide as a mark is."""
    rows, columns = np.nonzero(ring := ring_px(viewer, doubt.kind))
    if not len(rows):
        return False
    scale = np.array(viewer.layers["raw"].scale[1:]) * viewer.camera.zoom
    centre = np.subtract(doubt.place_px[1:] * np.array(viewer.layers["raw"].scale[1:]), viewer.camera.center[1:])
    y, x = centre * viewer.camera.zoom + np.array(ring.shape) / 2
    radius = _SIZE_PX / 2 * scale[0]
    left, right = (np.abs(columns - side).min() for side in (x - radius, x + radius))
    return bool(rows.min() < y < rows.max() and left < 4 and right < 4)


@contextlib.contextmanager
def asking_for_keys(folder: Path, *, allowed: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give the address of a daemon with one volume, and what lets our key in."""
    server, list_of_keys = samples.write_keys(folder)
    keys.write_pair(folder / "mine.key", pair := new_pair())

    def allow() -> None:
        keys.allow(list_of_keys, pair.public, "nia", "viewer")

    if allowed:
        allow()
    with Publisher(samples.config(server_key_file=server, authorized_keys_file=list_of_keys)) as publisher:
        publisher.start(STARTED, NetworkInUse(ModelIdentity("worm3d", "0" * 64), {}))
        publisher.publish(restored(0))
        yield publisher.address_pull, allow


def opens_by_dialog(folder: Path) -> None:
    """A daemon that asks for keys, which the plugin's fields name."""
    viewer = napari.Viewer(show=True)
    with asking_for_keys(folder, allowed=False) as (address, allow), docked(viewer) as watching:
        fill_in(watching, address, folder)
        until(lambda: "no daemon" in watching.status.text(), "who is not allowed sees nothing")
        assert not len(viewer.layers)
        watching.button.click()  # stops
        allow()
        watching.button.click()
        until(lambda: "restored" in viewer.layers, "who is allowed sees the newest")
        assert np.array_equal(viewer.layers["restored"].data, restored(0).mean)
    viewer.close()


def fill_in(watching: WatchWidget, address: str, folder: Path) -> None:
    """Type address and keys as a person does, and press the button; half of them is refused by name."""
    watching.address.setText(address)
    watching.key.setText(str(folder / "mine.key"))
    watching.button.click()
    assert "belong together" in watching.status.text() and not watching.is_watching
    watching.server_key.setText(str(folder / "server.key.pub"))
    watching.button.click()


def opens_by_command(folder: Path) -> None:
    """``care-live view --napari``, whose window is closed as soon as it shows the volume."""
    seen: list[np.ndarray] = []

    def close_when_seen() -> None:
        viewer = napari.current_viewer()
        if viewer is not None and viewer.title == "care_live" and "restored" in viewer.layers:
            assert viewer.grid.enabled, "raw and restored stand beside each other"
            seen.append(viewer.layers["restored"].data)
            QApplication.quit()

    get_qapp()  # a timer needs the application that the command would make
    timer = QTimer()
    timer.timeout.connect(close_when_seen)
    timer.start(50)
    with asking_for_keys(folder, allowed=True) as (address, _):
        key, server_key = folder / "mine.key", folder / "server.key.pub"
        arguments = [address, "--napari", "--key", str(key), "--server-key", str(server_key)]
        view_command.main(arguments, standalone_mode=False)
    timer.stop()
    assert np.array_equal(seen[0], restored(0).mean)
    check_that_no_thread_is_left()


def check_that_no_thread_is_left() -> None:
    left = [thread.name for thread in threading.enumerate() if thread.name in ("napari preparer", "viewer feed")]
    assert not left, left


if __name__ == "__main__":
    scenes = {
        "follows": follows_and_scrubs,
        "keys": opens_by_dialog,
        "command": opens_by_command,
        "past": marks_a_place_of_the_past,
    }
    scenes[sys.argv[1]](Path(sys.argv[2]))
    print("all is well")
