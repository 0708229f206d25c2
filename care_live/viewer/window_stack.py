"""Restored volumes in windows of a running Micro-Manager, over its server; nothing is installed there.

Micro-Manager's own displays can't be filled that way: ``createImage`` gets pixels as bytes and refuses them. But it
runs in ImageJ, which opens a file that we write, and reads it anew (*Revert*) for each further volume: in the same
window, at the plane that is shown.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import tifffile

from care_live.errors import CareLiveError
from care_live.maps import Array
from care_live.percentiles import measure
from care_live.publish.delivery import Delivery
from care_live.publish.subscriber import Subscriber
from care_live.source.java_bridge import JavaBridge, JavaObject
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import Start, View
from care_live.wire.printable import printable

logger = logging.getLogger(__name__)

_TURN_S = 0.5
_MOST_BYTES = 2**32 - 2**20
"""Of pixels: places in such a file have 32 bits, and it has a header."""
_RANGE = (0.1, 99.9)
"""Percentiles of the first volume; after it the contrast stays as it is, or as it is set in the window."""
_TEXT = "java.lang.String"
_SAYS = "restored, not for intensity quantification"


class StackWindow:
    """One window of ImageJ, over one file.

    Parameters
    ----------
    bridge : connected
    file : is written for each volume
    """

    def __init__(self, bridge: JavaBridge, file: Path) -> None:
        self._bridge, self._file = bridge, file
        self._image: JavaObject | None = None
        self._titles = {file.name}
        """What the window is called: the last title, and the one before, until the change was answered."""
        self.is_closed = False
        """Somebody has closed it."""

    def show(self, stack: Array, z_step_um: float, title: str) -> None:
        """Show a stack, (z, y, x) in counts, in place of the one before.

        Raises
        ------
        CareLiveError
            Micro-Manager does not answer, or cannot read the file, or the stack is too large for it.
        """
        self._write(stack, z_step_um)
        if self._image is None:
            contrast = measure(stack, *_RANGE)
            self._open(contrast.low, contrast.high)
        else:
            self._revert(self._image)
        assert self._image is not None
        if not self.is_closed:
            self._titles.add(title)
            self._bridge.call(self._image, "setTitle", title, types=[_TEXT])
            self._titles = {title}

    def find_again(self) -> None:
        """Look for the window after a break of the connection; where it is gone, the next volume opens one.

        Raises
        ------
        CareLiveError
            Micro-Manager does not answer.
        """
        found = (self._bridge.static("ij.WindowManager", "getImage", title, types=[_TEXT]) for title in self._titles)
        self._image = next((image for image in found if isinstance(image, JavaObject)), None)

    def _write(self, stack: Array, z_step_um: float) -> None:
        if stack.nbytes > _MOST_BYTES:
            raise CareLiveError(f"a volume has {stack.nbytes / 2**30:.1f} GiB, and a file of ImageJ holds less than 4")
        partial = self._file.with_suffix(".partial")
        about = {"axes": "ZYX", "spacing": z_step_um, "unit": "micron"}
        tifffile.imwrite(partial, stack, imagej=True, metadata=about)
        partial.replace(self._file)

    def _open(self, low: float, high: float) -> None:
        opened = self._bridge.static("ij.IJ", "openImage", str(self._file), types=[_TEXT])
        if not isinstance(opened, JavaObject):
            raise CareLiveError(f"Micro-Manager cannot open {self._file}: does it run on this machine?")
        self._image, self._titles = opened, {self._file.name}
        self._bridge.call(opened, "show")
        self._set_range(opened, low, high)

    def _revert(self, image: JavaObject) -> None:
        self.is_closed = not self._bridge.call(image, "isVisible")
        if self.is_closed:
            return
        low, high = (float(str(self._bridge.call(image, f"getDisplayRange{end}"))) for end in ("Min", "Max"))
        self._bridge.call(image, "revert")
        self._set_range(image, low, high)

    def _set_range(self, image: JavaObject, low: float, high: float) -> None:
        self._bridge.call(image, "setDisplayRange", low, high, types=["double", "double"])
        self._bridge.call(image, "updateAndDraw")

    def release(self) -> None:
        """Let Micro-Manager's server forget the image; its window stays."""
        if self._image is not None:
            self._bridge.release(self._image)


class StackWindows:
    """A window for each channel; one that was closed stays closed until the next run.

    Parameters
    ----------
    port : of Micro-Manager's server
    folder : for the files
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._bridge, self._folder = JavaBridge(port), folder
        self._windows: dict[int, StackWindow] = {}
        self._is_connected = False
        self._fault = ""

    def begin(self) -> None:
        """Another run begins: windows that were closed open again."""
        for window in self._windows.values():
            if window.is_closed:
                window.release()
        self._windows = {c: window for c, window in self._windows.items() if not window.is_closed}

    def show(self, volume: Delivery) -> None:
        """Show a restored volume; where Micro-Manager does not answer, say so once and go on with the next one."""
        try:
            if not self._is_connected:
                self._bridge.open()
                for window in self._windows.values():
                    window.find_again()
                self._is_connected = True
            self._show(volume)
            self._fault = ""
        except (CareLiveError, OSError) as error:
            self._is_connected = False
            if str(error) != self._fault:
                logger.warning("not shown in Micro-Manager: %s", error)
            self._fault = str(error)

    def _show(self, volume: Delivery) -> None:
        if volume.mean is None:
            return
        t, p, c = volume.key
        window = self._windows.setdefault(c, StackWindow(self._bridge, self._folder / f"channel-{c}.tif"))
        if not window.is_closed:
            title = f"{printable(volume.run_id)} t={t} position={p} channel={c}: {_SAYS}"
            window.show(volume.mean, volume.voxel_size_um[0], title)

    def close(self) -> None:
        for window in self._windows.values():
            window.release()
        self._bridge.close()


def show_restored(address: str, port: int, stopping: threading.Event, keys: ClientKeys | None = None) -> None:
    """Show what a daemon restores in the Micro-Manager of this machine, until *stopping* is set.

    Parameters
    ----------
    address : the daemon's ``bind_pull``
    port : of Micro-Manager's server
    """
    with (
        TemporaryDirectory(prefix="care-live-window-") as folder,
        closing(StackWindows(port, Path(folder))) as windows,
        Subscriber(address, view=View(products=("mean",)), keys=keys) as subscriber,
    ):
        while not stopping.is_set():
            message = subscriber.next(_TURN_S)
            if isinstance(message, Start):
                windows.begin()
            elif isinstance(message, Delivery) and message.is_whole:
                windows.show(message)
