"""Planes become volumes: every plane is at its place or reported missing, and doubtful places are marked."""

from care_live.assemble.assembler import Assembler
from care_live.assemble.counts import AssemblyCounts

__all__ = ["Assembler", "AssemblyCounts"]
