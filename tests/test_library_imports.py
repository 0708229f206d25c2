"""Few rooms import an outside library, also by its name as text, which `lint-imports` can't see."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "care_live"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
FORBIDDING = [contract for contract in CONTRACTS if contract["type"] == "forbidden"]
_BY_NAME = {"need", "import_module", "__import__"}


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the top-level package of every import of a file, those by name included."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in _BY_NAME:
                yield str(node.args[0].value).split(".")[0]


def room_of(path: Path) -> str:
    """Return the name of a module's room, or of a single file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("contract", FORBIDDING, ids=lambda contract: ", ".join(contract["forbidden_modules"]))
def test_a_library_is_imported_in_the_rooms_of_its_contract_and_in_no_other(contract: dict[str, list[str]]) -> None:
    forbidden = set(contract["forbidden_modules"])
    importing = {room_of(path) for path in sorted(PACKAGE.rglob("*.py")) if forbidden & imported(path)}
    allowed = {re.sub(r"^care_live\.(\w+).* -> \w+$", r"\1", rule) for rule in contract["ignore_imports"]}
    assert contract["source_modules"] == ["care_live"]
    assert importing == allowed


PLACES = {"care_live": ROOT, "tests": ROOT, "benches": ROOT / "tools", "fuzzing": ROOT / "tools", "gpu": ROOT / "tools"}
"""Where our own packages lie that tools import; most tools are run by hand, so that nothing else would notice."""


@cache
def bound(path: Path) -> frozenset[str]:
    """Return the names that a file binds anywhere outside of functions and classes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    left: list[ast.AST] = list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        left += ast.iter_child_nodes(node)
    return frozenset(names)


def missing(path: Path) -> Iterator[str]:
    """Name what a file imports of our own packages that is not there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module or node.module.split(".")[0] not in PLACES:
            continue
        place = PLACES[node.module.split(".")[0]].joinpath(*node.module.split("."))
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        for alias in node.names:
            is_module = any((place / alias.name).with_suffix(suffix).exists() for suffix in ("", ".py"))
            if not is_module and not (module.exists() and alias.name in bound(module)):
                yield f"{path.relative_to(ROOT)}: {alias.name} of {node.module}"


def test_tools_import_what_is_there() -> None:
    assert [line for path in sorted((ROOT / "tools").rglob("*.py")) for line in missing(path)] == []
