"""Addresses of links: ``tcp://HOST:PORT``, their ports, and whether other machines can reach them. Pure."""

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
    host = _parts(address)["host"].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def port_of(address: str) -> int:
    """Return the port of an address that is bound.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    return int(_parts(address)["port"])


def at_port(address: str, port: int) -> str:
    """Return the address of another port on the same host.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    return f"tcp://{_parts(address)['host']}:{port}"


def _parts(address: str) -> re.Match[str]:
    match = _ADDRESS.match(address)
    if match is None:
        raise ConfigError(f"{address!r} is no address: wanted tcp://HOST:PORT, such as tcp://127.0.0.1:5791")
    return match
