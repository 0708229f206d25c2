"""The running system: stages wired, started, drained and stopped; its status and its health."""
