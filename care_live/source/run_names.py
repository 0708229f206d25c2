"""Names for the runs of a source that has one run after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator


def run_names(run_id: str) -> Iterator[str]:
    """Yield names for one run after the other.

    >>> names = run_names("evening")
    >>> next(names), next(names)
    ('evening', 'evening-2')
    """
    yield run_id
    for number in itertools.count(2):
        yield f"{run_id[:56]}-{number}"
