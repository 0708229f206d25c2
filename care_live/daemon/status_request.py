"""Requests to the status address of a daemon, as a command makes them."""

from __future__ import annotations

import urllib.request
from http.client import HTTPResponse
from typing import cast


def open_status(request: str | urllib.request.Request, timeout_s: float) -> HTTPResponse:
    """Open an address of a daemon, past any proxy: one that a laboratory has for the web does not reach this machine.

    Raises
    ------
    OSError
        Nothing answers, or the answer is an error.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return cast(HTTPResponse, opener.open(request, timeout=timeout_s))
