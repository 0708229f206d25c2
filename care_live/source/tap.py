"""The tap on pycromanager's image stream: it hands every frame over and returns at once.

::

    from care_live.source import tap
    Acquisition(directory, name, image_process_fn=tap("tcp://127.0.0.1:5790"))

A slow daemon, a broken link or a full memory never reach the acquisition. The run ends when the thread that
brings the frames ends (pycromanager's does at the end of every acquisition), when the script ends, or on `close`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from care_live.images import Plan
from care_live.source.frame_recorder import EndReason, FrameRecorder, Image, Tags
from care_live.source.outline import Outline, outline_of
from care_live.source.tap_sender import MEMORY_BYTES, Endpoint
from care_live.wire.keys import read_client

EngineEvent = Mapping[str, Any]
"""One acquisition event of pycromanager."""


def tap(
    address: str,
    *,
    events: Iterable[EngineEvent] | None = None,
    pass_on: bool = True,
    memory_bytes: int = MEMORY_BYTES,
    key_file: Path | None = None,
    daemon_key: str | None = None,
) -> Tap:
    """Return a tap for ``image_process_fn`` that sends frames to a daemon.

    Parameters
    ----------
    address : ``tcp://HOST:PORT``, where the daemon's ``source.bind`` is
    events : the events of the acquisition, so that the daemon knows from the start what will come
    pass_on : return the images, so that pycromanager still saves them; False: care_live is the only consumer
    memory_bytes : frames that may wait for the daemon; when they fill it, whole volumes are refused
    key_file, daemon_key : own CURVE key file, and the daemon's public key or ``.pub`` file; None: it is on this machine

    Raises
    ------
    ConfigError
        The address or a key is invalid, or one of the two keys is missing.
    """
    endpoint = Endpoint(address, keys=read_client(key_file, daemon_key), memory_bytes=memory_bytes)
    opened = Tap(endpoint, outline=planned(events) if events is not None else None, pass_on=pass_on)
    opened.open()
    return opened


def planned(events: Iterable[EngineEvent], *, cameras: Sequence[str] = ()) -> Outline:
    """Read the events that pycromanager will run; see `outline_of`."""
    each = ((event["axes"], None if event.get("z") is None else float(event["z"])) for event in events)
    return outline_of(each, cameras=cameras)


class Tap:
    """Callable for pycromanager's ``image_process_fn``; its `hardware` is for ``post_hardware_hook_fn``.

    Parameters
    ----------
    endpoint, outline, summary, on_stop : see `FrameRecorder`
    pass_on : return the images to the engine
    ends_with_producer : the run is over when the thread that brought the frames is
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        outline: Outline | None = None,
        summary: Mapping[str, Any] | None = None,
        on_stop: Callable[[str], None] | None = None,
        pass_on: bool = True,
        ends_with_producer: bool = True,
    ) -> None:
        self._pass_on = pass_on
        self._ends_with_producer = ends_with_producer
        self._producer: threading.Thread | None = None
        self.feed = FrameRecorder(endpoint, outline=outline, summary=summary, on_stop=on_stop, look=self._look)

    def open(self, plan: Plan | None = None) -> None:
        """Start to send; without a plan, shape and type come from the first frame."""
        self.feed.open(plan)

    def __call__(self, image: Image, metadata: Tags) -> tuple[Image, Tags] | None:
        self._producer = threading.current_thread()
        self.feed.frame(image, metadata, give=not self._pass_on)
        return (image, metadata) if self._pass_on else None

    def hardware(self, event: Any) -> Any:
        """Note hardware sequences: the engine gives them as lists of events. Returned unchanged."""
        if isinstance(event, list) and len(event) > 1:
            self.feed.announce(lambda: [one["axes"] for one in event])
        return event

    def _look(self) -> None:
        """End the run when no thread can bring frames any more; in the sending thread, so at most 0.2 s late."""
        producer = self._producer if self._ends_with_producer else None
        if not (producer or threading.main_thread()).is_alive():
            self.feed.end(*self.feed.verdict())

    def close(self, reason: EndReason | None = None, detail: str = "", *, within_s: float | None = None) -> bool:
        """End the run and wait until the daemon has everything; False: it did not take it in time."""
        return self.feed.close(reason, detail, within_s=within_s)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        else:
            self.close("failed", f"{type(error).__name__}: {error}")
