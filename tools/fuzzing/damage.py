"""Damage to files: bytes flipped, cut, spliced; JSON with hostile values. All of it follows from one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

Files = Mapping[str, bytes]
"""An input: the content of each file by its path, or of each part of a message by its number."""

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF)
_HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 65536, 10_000_000, 2**31, 2**53, 2**63, -(2**63), 1e-320, 1e308, -0.5,
    float("nan"), float("inf"), "", "0", "../../x", "x" * 5000, "\x00", "[/old]", [], {}, [[]], [0] * 1000, {"a": 1},
)  # fmt: skip
_MAX_REPEATED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One damaged input and what it was made of."""

    sound: Files
    files: Files
    how: str = ""
    """Kind of damage and the file that it befell: ``cut image.tif``."""

    @property
    def is_cut(self) -> bool:
        """The only damage is a missing end, which every format that states its size can notice."""
        return self.how.startswith("cut ")


def damage_bytes(sound: Files, chance: random.Random, name: str) -> Case:
    """Damage one file in one to three places, all in the same way."""
    how = chance.choice(tuple(_WAYS))
    data = sound[name]
    for _ in range(1 if how == "cut" else chance.choice((1, 1, 2, 3))):
        data = _WAYS[how](data, chance)
    return Case(sound, {**sound, name: data}, f"{how} {name}")


def damage_json(sound: Files, chance: random.Random, name: str) -> Case:
    """Change one to three values of a JSON file; one that can't be read, or is too deep for that, loses bytes."""
    try:
        tree = json.loads(sound[name])
        for _ in range(chance.choice((1, 1, 2, 3))):
            tree = _change_somewhere(tree, chance)
        return Case(sound, {**sound, name: json.dumps(tree).encode()}, f"json {name}")
    except (ValueError, RecursionError):
        return damage_bytes(sound, chance, name)


def remove(sound: Files, name: str) -> Case:
    """Take one file away."""
    return Case(sound, {path: data for path, data in sound.items() if path != name}, f"remove {name}")


def also(case: Case, damage: Callable[[Files, random.Random, str], Case], chance: random.Random, name: str) -> Case:
    """Damage a case once more."""
    further = damage(case.files, chance, name)
    return replace(further, sound=case.sound, how=f"{further.how} and {case.how}")


# -- bytes ------------------------------------------------------------------------------------------------------


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[min(_place(len(data), chance), len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _number(data: bytes, chance: random.Random) -> bytes:
    """Put a number at the edge of its type where another number may lie."""
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice(_EDGES) % 256**width
    start = _place(len(data), chance)
    return data[:start] + value.to_bytes(width, chance.choice(("little", "big"))) + data[start + width :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(len(data), chance)]


def _drop(data: bytes, chance: random.Random) -> bytes:
    start = _place(len(data), chance)
    return data[:start] + data[start + chance.choice((1, 2, 4, 16, 512)) :]


def _splice(data: bytes, chance: random.Random) -> bytes:
    """Write one stretch over another one."""
    length = chance.choice((1, 4, 16, 64, 512))
    source, start = _place(len(data), chance), _place(len(data), chance)
    stretch = data[source : source + length]
    return data[:start] + stretch + data[start + len(stretch) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = _place(len(data), chance)
    return data[:start] + data[start : start + chance.choice((1, 4, 64, 512))] + data[start:]


def _blank(data: bytes, chance: random.Random) -> bytes:
    """Lose a stretch to zeros, as a disk does that never wrote it."""
    start = _place(len(data), chance)
    stretch = len(data[start : start + chance.choice((4, 64, 512, 4096))])
    return data[:start] + bytes(stretch) + data[start + stretch :]


def _place(n_bytes: int, chance: random.Random) -> int:
    """Return an offset: as often near the beginning or the end, where formats keep their structure, as anywhere."""
    near = min(n_bytes, chance.choice((32, 512)))
    where = chance.randrange(4)
    if where == 0:
        return chance.randrange(near + 1) if n_bytes else 0
    if where == 1:
        return max(0, n_bytes - 1 - chance.randrange(near + 1))
    return chance.randrange(n_bytes) if n_bytes else 0


_WAYS: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "number": _number,
    "cut": _cut,
    "drop": _drop,
    "splice": _splice,
    "repeat": _repeat,
    "blank": _blank,
}


# -- JSON -------------------------------------------------------------------------------------------------------


def _change_somewhere(tree: Any, chance: random.Random) -> Any:
    """Return a tree with one value replaced, removed, doubled or wrapped; the given one is used up."""
    places = list(_places(tree))
    if not places:
        return deepcopy(chance.choice(_HOSTILE))
    holder, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            del holder[key]
        case 1:
            holder[key] = _wrapped(holder[key], chance)
        case 2 if isinstance(holder, list):
            times = _at_most(chance.choice((1, 3, 1000)), holder[key])
            holder.extend(deepcopy(holder[key]) for _ in range(times))
        case 3:
            other, other_key = chance.choice(places)
            holder[key] = deepcopy(other[other_key])
        case _:
            holder[key] = _near(holder[key], chance)
    return tree


def _at_most(times: int, value: Any) -> int:
    """Return how often a value may be repeated: what the damage itself makes must not be what takes the memory."""
    return max(1, min(times, _MAX_REPEATED_BYTES // (len(json.dumps(value)) + 1)))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each key or index that leads to a value."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            waiting.append(holder[key])


def _wrapped(value: Any, chance: random.Random) -> Any:
    for _ in range(chance.choice((1, 2, 100))):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def _near(value: Any, chance: random.Random) -> Any:
    """Return a hostile value; for a number as often another number, which passes more checks."""
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.5:
        return chance.choice((-value, value + 1, value - 1, value * 1000, value * 10**6, value / 3))
    return deepcopy(chance.choice(_HOSTILE))
