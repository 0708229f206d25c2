"""Addresses of the programs on one machine, unless a config sets others."""

TAPS = "tcp://127.0.0.1:5790"
"""Taps send frames to this address."""
BROADCAST = "tcp://127.0.0.1:5791"
WATCHERS = "tcp://127.0.0.1:5792"
"""Viewers and recorders connect to this address."""
STATUS = "127.0.0.1:5793"
LIVE = "tcp://127.0.0.1:5795"
"""A camera that runs outside an acquisition is asked for its newest frame here."""
PAGE = "127.0.0.1:5794"
MICROMANAGER = 4827
"""Micro-Manager's server: its window has no other port."""
