"""Commands as a person types them, to be copied from what a command prints."""

from __future__ import annotations

import os
import shlex
import subprocess


def typed(*words: object, system: str = os.name) -> str:
    """Return a command whose words are quoted where the shell of this machine needs that, as for blanks in a path."""
    said = [str(word) for word in words]
    return subprocess.list2cmdline(said) if system == "nt" else shlex.join(said)
