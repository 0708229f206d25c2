"""Planes into volumes: every plane at its place or named missing, and how far the places can be trusted."""

from care_live.assemble.assembler import Assembler
from care_live.assemble.counts import AssemblyCounts

__all__ = ["Assembler", "AssemblyCounts"]
