"""Restore volumes: normalise → tile or stream → infer → combine → undo.

`engine.Engine` does it in this process, `process.RestoreProcess` in a child process, so that a driver fault,
an out-of-memory or a hang costs a restart and not the run.
"""
