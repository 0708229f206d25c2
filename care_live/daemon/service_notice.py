"""What systemd learns of a daemon that it has started (``Type=notify``): ready, what it does, that it ends.

A datagram to the socket that systemd names; see ``man sd_notify``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from care_live.daemon.run_metrics import Phase

_SAYS: Mapping[Phase, str] = {
    "waiting": "READY=1\nSTATUS=ready, waiting for the first frame",
    "running": "STATUS=the acquisition runs",
    "draining": "STOPPING=1\nSTATUS=draining: volumes on their way are finished",
    "failed": "STATUS=the run has failed",
}


def tell_service(phase: Phase, environment: Mapping[str, str] = os.environ) -> bool:
    """Send systemd the state of the daemon; return whether that was possible. A run never fails for this.

    Parameters
    ----------
    environment : systemd's ``NOTIFY_SOCKET`` is there, where it started this process
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address or phase not in _SAYS or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):  # Linux' abstract names begin with a zero byte
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(_SAYS[phase].encode(), address)
    except OSError:
        return False
    return True
