"""Refuse a name of a class, a type or a file that stands for two things; run by ``tools/check``.

``__init__`` and the commands in ``cli`` may repeat a room's name. A name that each room gives to its arrays, or that is
written alike in two files, has one meaning.
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


def types() -> dict[str, list[Path]]:
    """Return where each name of a type stands that means different things, classes among them."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name][f"class in {path}"] = path
            elif isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation) and node.value:
                found[ast.unparse(node.target)][meaning(node.value)] = path
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
                found[ast.unparse(node.targets[0])][meaning(node.value)] = path
    return {name: list(each.values()) for name, each in found.items() if is_type(name)}


def meaning(value: ast.expr) -> str:
    """Return what a name of a type is written as; all arrays mean the same."""
    text = ast.unparse(value)
    return "an array" if text.startswith("NDArray") else text


def is_type(name: str) -> bool:
    return name[:1].isupper() and not name.isupper()


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
    lines = [*repeated("class", classes()), *repeated("type", types()), *repeated("file", stems())]
    print("\n".join(lines) or "every name of a class, a type or a file has one meaning")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
