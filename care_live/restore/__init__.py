"""The method: ranges → tile or stream → predict → undo → repair.

`engine.Engine` does it in this process, `care_live.worker` in a process of its own, so that a driver fault,
an out-of-memory or a hang costs a restart and not the run.

The room can be called, as ``care_live.restore(inputs, output)``: the function `care_live.offline.restore`.
"""

from __future__ import annotations

import sys

from care_live import CallableRoom

sys.modules[__name__].__class__ = CallableRoom
