"""Few rooms import an outside library, also by its name as text, which `lint-imports` can't see."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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


def files_of(module: str) -> list[Path]:
    place = ROOT.joinpath(*module.split("."))
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


@pytest.mark.parametrize("contract", FORBIDDING, ids=lambda contract: ", ".join(contract["forbidden_modules"]))
def test_a_library_is_imported_where_its_contract_allows_only(contract: dict[str, list[str]]) -> None:
    forbidden = set(contract["forbidden_modules"])
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for module in contract["source_modules"]
        for path in files_of(module)
        for name in imported(path)
        if name in forbidden
    ]
    assert not found


@pytest.mark.parametrize("contract", FORBIDDING, ids=lambda contract: ", ".join(contract["forbidden_modules"]))
def test_every_room_imports_it_or_is_forbidden_to(contract: dict[str, list[str]]) -> None:
    rooms = {f"care_live.{path.parent.name}" for path in (ROOT / "care_live").glob("*/__init__.py")}
    allowed = rooms - set(contract["source_modules"])
    importing = {
        room for room in allowed for path in files_of(room) if set(contract["forbidden_modules"]) & imported(path)
    }
    assert importing == allowed
