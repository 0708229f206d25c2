"""A child process that ends."""

from __future__ import annotations

import pytest

from care_live.source.child_process import last_words

pytestmark = [pytest.mark.mm, pytest.mark.slow]


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("INFO loading\nERROR no Micro-Manager answers\nTraceback:\n  in run\n", "no Micro-Manager answers"),
        ("ERROR once\nERROR twice\n", "twice"),
        ("loading\nSegmentation fault\n\n", "Segmentation fault"),
        ("\n", "it said nothing"),
    ],
    ids=["a thread dies after it", "two errors", "no error was logged", "nothing"],
)
def test_the_last_words_are_the_error(printed: str, words: str) -> None:
    assert last_words(printed) == words
