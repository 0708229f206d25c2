"""Where a Dask scheduler is, and whether it answers."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from care_live.errors import ConfigError
from care_live.imports import need

_SET = "set ca-file, client.cert and client.key of distributed.comm.tls there"


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
    ConfigError
        The address is one of TLS, and Dask's configuration names no certificates that can be read.
    """
    with socket.create_connection(place_of(address), timeout=limit_s):  # Dask itself would try for long, and loudly
        pass
    with ThreadPoolExecutor(1, "scheduler") as thread:  # a notebook's own thread has a loop already
        thread.submit(lambda: asyncio.run(_answer(address, limit_s))).result()


async def _answer(address: str, limit_s: float) -> None:
    rpc = need("distributed", extra="cluster").rpc
    async with rpc(address, connection_args=_connection_args(address), timeout=limit_s) as scheduler:
        try:
            await asyncio.wait_for(scheduler.identity(n_workers=0), limit_s)
        except TimeoutError:
            raise TimeoutError(f"something listens there, and does not answer within {limit_s:g} s") from None


def _connection_args(address: str) -> dict[str, Any]:
    """Return what Dask's own configuration says of connections."""
    try:
        options: dict[str, Any] = need("distributed", extra="cluster").Security().get_connection_args("client")
    except OSError as error:
        raise ConfigError(f"Dask's configuration names certificates that cannot be read: {error}; {_SET}") from error
    if urlsplit(address).scheme == "tls" and options.get("ssl_context") is None:
        raise ConfigError(f"{address} is reached over TLS, and Dask's configuration names no certificates: {_SET}")
    return options
