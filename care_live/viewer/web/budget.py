"""What one client may cost the page's server, as numbers; budgets.md lists what happens past each."""

from __future__ import annotations

MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ADDRESS = 256, 128
"""Without a WebSocket: waiting for a request, or answering one."""
MAX_BROWSERS, MAX_BROWSERS_OF_ADDRESS = 64, 32
ACCEPTED_AT_ONCE = 32
"""Less than the connections of an address, so that a newcomer's request is read before its connection is the oldest."""
REQUEST_S = 10.0
"""Time for a whole request."""
STALLED_S = 30.0
"""Time in which a client takes nothing of what is sent to it."""
MAX_HEAD_BYTES, MAX_MESSAGE_BYTES = 1 << 14, 1 << 16
LONGEST_WAIT_S = 5.0
"""For a client with too many requests."""
MAX_FRAGMENTS, MAX_UNREAD_PONGS = 64, 500
