"""Where a Dask scheduler is, and whether it answers."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from care_live.imports import need


def address_of(scheduler: str | Path) -> str:
    """Return the address of a scheduler that is named by its address, or by the file that it wrote.

    Raises
    ------
    OSError, ValueError, KeyError
        There is no such file, or it is not a scheduler's.
    """
    if "://" in str(scheduler):
        return str(scheduler)
    return str(msgspec.json.decode(Path(scheduler).read_bytes(), type=dict[str, Any])["address"])


def place_of(address: str) -> tuple[str, int]:
    """Return host and port of an address."""
    place = urlsplit(address)
    return place.hostname or "", place.port or 0


def must_answer(address: str, limit_s: float) -> None:
    """Refuse a scheduler that does not answer: Dask's client would wait for ever for one that hangs.

    Raises
    ------
    OSError
        Nothing listens there, or what does is no scheduler, or hangs.
    TypeError
        The address is one of TLS, and Dask's configuration names no certificates.
    """
    with socket.create_connection(place_of(address), timeout=limit_s):  # Dask itself would try for long, and loudly
        pass
    with ThreadPoolExecutor(1, "scheduler") as thread:  # a notebook's own thread has a loop already
        thread.submit(lambda: asyncio.run(_answer(address, limit_s))).result()


async def _answer(address: str, limit_s: float) -> None:
    distributed = need("distributed", extra="cluster")
    options = distributed.Security().get_connection_args("client")
    async with distributed.rpc(address, connection_args=options, timeout=limit_s) as scheduler:
        try:
            await asyncio.wait_for(scheduler.identity(n_workers=0), limit_s)
        except TimeoutError:
            raise TimeoutError(f"something listens there, and does not answer within {limit_s:g} s") from None
