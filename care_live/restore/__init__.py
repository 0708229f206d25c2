"""The method: ranges → tile or stream → predict → undo → repair.

`engine.Engine` does it in this process, `care_live.worker` in a process of its own, so that a driver fault,
an out-of-memory or a hang costs a restart and not the run.
"""
