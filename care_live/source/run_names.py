"""Names for the runs of a source that has one run after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator


def run_names(run_id: str, is_taken: Callable[[str], bool] = lambda name: False) -> Iterator[str]:
    """Yield names for one run after the other.

    Parameters
    ----------
    run_id : of the first run
    is_taken : whether a run has this name already, as of an earlier daemon; asked when the name is needed

    >>> names = run_names("evening", {"evening-2"}.__contains__)
    >>> next(names), next(names)
    ('evening', 'evening-3')
    """
    numbered = (f"{run_id[:56]}-{number}" for number in itertools.count(2))
    return (name for name in itertools.chain([run_id], numbered) if not is_taken(name))
