"""Damage to messages: a JSON header in part ``0``, buffers behind it."""

from __future__ import annotations

import random

from fuzzing.damage import Case, Files, damage_bytes, damage_json


def damaged_message(sound: Files, chance: random.Random) -> Case:
    """Change the header's values, any part's bytes, or which parts there are."""
    match chance.randrange(5):
        case 0 | 1:
            return damage_json(sound, chance, "0")
        case 2 | 3:
            return damage_bytes(sound, chance, chance.choice(tuple(sound)))
        case _:
            return Case(sound, dict(enumerate_parts(_other_parts(list(sound.values()), chance))), "parts")


def parts_of(files: Files) -> list[bytes]:
    """Return the parts of a message in order."""
    return [files[name] for name in sorted(files, key=int)]


def enumerate_parts(parts: list[bytes]) -> list[tuple[str, bytes]]:
    """Return parts under the names that `parts_of` reads."""
    return [(str(i), part) for i, part in enumerate(parts)]


def _other_parts(parts: list[bytes], chance: random.Random) -> list[bytes]:
    """Lose, double, swap or add parts."""
    match chance.randrange(4):
        case 0:
            del parts[chance.randrange(len(parts))]
        case 1:
            parts.insert(chance.randrange(len(parts) + 1), chance.choice(parts))
        case 2:
            chance.shuffle(parts)
        case _:
            parts += [b""] * chance.choice((1, 5, 100))
    return parts
