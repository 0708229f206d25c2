"""Addresses of links: ``tcp://HOST:PORT``, their ports, and whether other machines can reach them."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

import psutil

from care_live import default_ports
from care_live.errors import ConfigError

_ADDRESS = re.compile(r"tcp://(?P<host>[^/\s]+):(?P<port>\d{1,5}|\*)")


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    return is_loopback_host(_parts(address)["host"].strip("[]"))


def is_loopback_host(host: str) -> bool:
    """Return whether only this machine can reach a host, named or given by its IP address."""
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


def at_host(address: str, host: str) -> str:
    """Return the address of the same port on another host.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    return f"tcp://[{host}]:{port_of(address)}" if ":" in host else f"tcp://{host}:{port_of(address)}"


def is_wildcard(address: str) -> bool:
    """Return whether an address stands for every interface of this machine.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``.
    """
    return _parts(address)["host"] in ("*", "0.0.0.0", "[::]")


def listen(address: str) -> socket.socket:
    """Return a TCP socket that listens at an address; ``*`` stands for every interface, or for a free port.

    Raises
    ------
    ConfigError
        It is not ``tcp://HOST:PORT``, is taken, or is not of this machine.
    """
    parts = _parts(address)
    host, port = _of_interface(parts["host"].strip("[]")), int(parts["port"].replace("*", "0"))
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=socket.AF_INET6 if both else family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ConfigError(f"{address} is taken by another program: stop that one, or set another port") from error
        raise ConfigError(f"cannot bind to {address}: {error}") from error


def _of_interface(host: str) -> str:
    """Return the IP address of a network interface that is named instead of a host."""
    if host == "*":
        return "0.0.0.0"
    addresses = psutil.net_if_addrs().get(host, [])
    return next((one.address for one in addresses if one.family == socket.AF_INET), host)


def address_of(listener: socket.socket) -> str:
    """Return where a socket listens, with the port that the system chose."""
    host, port = listener.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _parts(address: str) -> re.Match[str]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address!r} is not an address: wanted tcp://HOST:PORT, such as {default_ports.BROADCAST}")
    return match
