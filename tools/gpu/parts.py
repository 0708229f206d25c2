"""Parts of a long check, each in a process of its own: what fails, hangs or breaks the device leaves the rest."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Row = dict[str, Any]
_AHEAD = ["numpy", "onnx", "gpu.measures"]
"""Imported once for all parts; nothing that opens a device."""


@dataclass(frozen=True)
class Part:
    """A measurement that gives rows of a table."""

    title: str
    """Key of its rows in the figures."""
    name: Row
    """What is measured; begins each row."""
    measure: Callable[..., Iterable[Row]]
    arguments: tuple[Any, ...]


def run(part: Part, limit_s: float) -> Iterator[Row]:
    """Yield its rows as they come; where it ends too early, the last row has the reason."""
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, part), name=f"gpu-check-{part.title}")
    process.start()
    theirs.close()
    try:
        yield from _rows(ours, part, time.monotonic() + limit_s, limit_s)
    finally:
        process.kill()
        process.join(30.0)
        ours.close()


def _rows(pipe: Connection, part: Part, until_s: float, limit_s: float) -> Iterator[Row]:
    while pipe.poll(max(0.0, until_s - time.monotonic())):
        try:
            row = pipe.recv()
        except EOFError:
            yield part.name | {"refused": "its process ended"}
            return
        if row is None:
            return
        yield part.name | row
    yield part.name | {"refused": f"took longer than {limit_s:.0f} s"}


def _work(pipe: Connection, part: Part) -> None:
    try:
        for row in part.measure(*part.arguments):
            pipe.send(row)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
        pipe.send({"refused": f"{type(error).__name__}: {error}"[:300]})
    pipe.send(None)


def _context() -> Any:
    """Return how to start processes: from one that has imported everything, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_AHEAD)
    return context
