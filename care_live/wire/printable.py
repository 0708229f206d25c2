"""Text from another machine, or a file, made safe to print: it may contain commands for a terminal."""

from __future__ import annotations

import unicodedata

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
"""Unicode categories that move a cursor, turn the direction of writing, or show nothing."""


def printable(text: str) -> str:
    """Return a text on one line, without control characters; lines and tabs become spaces.

    An escape sequence in a run's note or in a channel's name could clear a terminal, rename its window or, in some,
    type for its user; a reversed direction of writing shows another name than there is.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return _REPLACED if unicodedata.category(character) in _INVISIBLE else character
