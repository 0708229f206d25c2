"""Refuse a class name or a file stem that stands for two things; run by ``tools/check``.

``__init__`` and the commands in ``cli`` may repeat a room's name.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "care_live"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def classes() -> dict[str, list[Path]]:
    """Return where each class of a module stands."""
    found = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return found


def stems() -> dict[str, list[Path]]:
    """Return where each file stem stands."""
    found = defaultdict(list)
    for path in modules():
        if not path.stem.startswith("__") and path.parent.name != "cli":
            found[path.stem].append(path)
    return found


def repeated(what: str, found: Mapping[str, Iterable[Path]]) -> list[str]:
    places = {name: [str(path.relative_to(PACKAGE)) for path in paths] for name, paths in sorted(found.items())}
    return [f"{what} {name} stands in {', '.join(where)}" for name, where in places.items() if len(where) > 1]


def main() -> int:
    lines = [*repeated("class", classes()), *repeated("file", stems())]
    print("\n".join(lines) or "every class name and file stem has one meaning")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
