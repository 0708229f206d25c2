"""Addresses of links: ``tcp://HOST:PORT``, and whether other machines can reach them."""

from __future__ import annotations

import ipaddress
import re

from care_live.errors import ConfigError

_ADDRESS = re.compile(r"^tcp://(?P<host>[^/\s]+):(?P<port>\d{1,5}|\*)$")


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach an address.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    match = _ADDRESS.match(address)
    if match is None:
        raise ConfigError(f"{address!r} is no address: wanted tcp://HOST:PORT, such as tcp://127.0.0.1:5791")
    host = match["host"].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
