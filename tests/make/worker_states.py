"""What workers are doing."""

from __future__ import annotations

WORKERS = (
    {"worker": 0, "device": "cuda:0", "state": "restoring", "restored": 7, "restarts": 0},
    {"worker": 1, "device": "cuda:1", "state": "starting", "restored": 6, "restarts": 1},
)
