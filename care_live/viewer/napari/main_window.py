"""``care-live view --napari``: a napari window that watches."""

from __future__ import annotations

from pathlib import Path

from care_live.errors import ConfigError
from care_live.wire.keys import ClientKeys


def watch(address: str, directory: Path | None = None, *, keys: ClientKeys | None = None) -> None:
    """Open napari with the layers of a run and stay until it is closed.

    Parameters
    ----------
    address, directory, keys : see `WatchWidget.start`

    Raises
    ------
    ConfigError
        napari is not installed.
    """
    try:
        import napari
    except ImportError as error:
        raise ConfigError(f"napari is not installed ({error}); run: pip install 'care-live[napari]'") from error
    from care_live.viewer.napari.widget import WatchWidget

    viewer = napari.Viewer(title="care_live")
    viewer.grid.enabled = True
    watching = WatchWidget(viewer)
    viewer.window.add_dock_widget(watching, name="care_live", area="right")
    watching.start(address, directory, keys=keys)
    try:
        napari.run()
    finally:
        watching.leave()
