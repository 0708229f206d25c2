"""ARCHITECTURE.md says what is there: its rooms, the functions that it names, and what it counts; no room is deep."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "care_live"
PAGE = (PACKAGE / "ARCHITECTURE.md").read_text(encoding="utf-8")

NAMED = sorted(set(re.findall(r"`([\w/]+\.(?:py|js)):([\w.]+)`", PAGE)))
LINE = re.compile(r"^(\d+)\. `([\w/]+\.(?:py|js)):([\w.]+)` - (.+?) · (\w+): ([\w -]+?)((?: ◆ `\w+`)*)$", re.MULTILINE)
CALCULATION = re.compile(r"`([\w/]+\.(?:py|js)):([\w.]+)`")
MOST_WORDS = 12


class Hop(NamedTuple):
    number: int
    file: str
    function: str
    what: str
    process: str
    thread: str
    descriptions: str

    @property
    def where(self) -> tuple[str, str]:
        return self.process, self.thread

    @property
    def name(self) -> str:
        return self.function.split(".")[-1]

    @property
    def calculations(self) -> list[tuple[str, str]]:
        """File and function of each."""
        return CALCULATION.findall(self.what)


HOPS = [Hop(int(number), *rest) for number, *rest in LINE.findall(PAGE)]
STRETCHES = [list(hops) for _, hops in groupby(HOPS, key=lambda hop: hop.where)]
"""Hops one after the other in one thread."""


@cache
def defined(path: Path) -> frozenset[str]:
    """Return the functions, classes, methods and constants of a module, methods as ``Class.method``."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        functions = re.findall(r"^(?:export )?(?:async )?(?:function|class|const) (\w+)", text, re.MULTILINE)
        methods = re.findall(r"^  (?:async |get )?(\w+)\([^()]*(?:\([^()]*\)[^()]*)*\) \{$", text, re.MULTILINE)
        return frozenset(functions + methods)
    return frozenset(_names(ast.parse(text).body))


def _names(body: list[ast.stmt], within: str = "") -> list[str]:
    found = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            found += [node.name, *_names(node.body, within=f"{node.name}.")]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(within + node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [within + target.id for target in targets if isinstance(target, ast.Name)]
    return found


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}:{name}" for file, name in NAMED])
def test_what_is_named_is_defined(file: str, name: str) -> None:
    path = PACKAGE / file
    assert path.is_file(), f"care_live/{file} does not exist"
    assert name in defined(path), f"care_live/{file} defines no {name}"


def test_files_and_tests_that_are_named_exist() -> None:
    paths = re.findall(r"`((?:tests/)?[\w/]+\.(?:py|md|js))`", PAGE) + re.findall(r"\]\(([\w/.]+)\)", PAGE)
    named = [path for path in paths if "NAME" not in path]
    missing = [path for path in named if not (ROOT if path.startswith("tests/") else PACKAGE).joinpath(path).is_file()]
    assert named
    assert not missing


def test_every_room_is_listed_and_no_other() -> None:
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    listed = set(re.findall(r"^\| *\d* *\| `([\w/]+)` \|", PAGE, re.MULTILINE))
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert listed - files == rooms


def test_the_floors_are_those_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors: dict[int, list[str]] = {}
    for floor, rooms in re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.MULTILINE):
        floors.setdefault(int(floor), []).extend(re.findall(r"`(\w+)`", rooms))
    assert [floors[floor] for floor in sorted(floors)] == [layer.split(" | ") for layer in layers]


@cache
def imported(path: Path) -> frozenset[Path]:
    """Return the files of the package that a module imports, in functions too; what only its types need is left out."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    found: set[Path] = set()
    for node in nodes:  # grows
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) or ROOT for alias in node.names}
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += ast.iter_child_nodes(node)
    return frozenset(found - {ROOT})


def file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def n_floors(path: Path, room: Path) -> int:
    """Return how many modules of a room lie below each other, from this one down."""
    below = (one for one in imported(path) if one.is_relative_to(room))
    return 1 + max((n_floors(one, room) for one in below), default=0)


@pytest.mark.parametrize("room", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()))
def test_who_reads_a_room_descends_six_floors_at_most(room: str) -> None:
    floors = {path.name: n_floors(path, PACKAGE / room) for path in (PACKAGE / room).rglob("*.py")}
    assert max(floors.values()) <= 6, floors


def test_every_module_of_the_inference_process_is_on_one_end_or_both() -> None:
    said = PAGE[PAGE.index("- The daemon's end") : PAGE.index("A volume that is being recorded")]
    named = re.findall(r"`([a-z_]+)`", said)
    assert sorted(named) == sorted(path.stem for path in (PACKAGE / "worker").glob("*.py") if path.stem != "__init__")


def test_every_decision_is_linked() -> None:
    decisions = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("why_*.md")}
    assert decisions
    assert decisions <= set(re.findall(r"\]\(([\w/.]+)\)", PAGE))


def test_hops_are_numbered_short_and_say_where_they_run() -> None:
    lines = re.findall(r"^\d+\. .*$", PAGE, re.MULTILINE)
    assert len(HOPS) == len(lines), [line for line in lines if not LINE.match(line)]
    assert [hop.number for hop in HOPS] == list(range(1, len(HOPS) + 1))
    texts = [re.sub(r" ?\([^()]*`[^()]*\)", "", hop.what) for hop in HOPS]
    assert not [text for text in texts if "`" in text or len(text.split()) > MOST_WORDS]
    threads = dict(re.findall(r"^\| (script|daemon|inference|gateway|browser) \| (.+) \|$", PAGE, re.MULTILINE))
    unknown = [hop for hop in HOPS if f"*{hop.thread}*" not in threads.get(hop.process, "")]
    assert not unknown


def names_it(file: str, function: str) -> bool:
    name = function.rpartition(".")[2]
    return re.search(rf"\b{name}\b", (PACKAGE / file).read_text(encoding="utf-8")) is not None


def test_a_hop_is_another_file_or_another_thread() -> None:
    assert not [hop for before, hop in pairwise(HOPS) if (before.file, before.where) == (hop.file, hop.where)]


@pytest.mark.parametrize("stretch", STRETCHES, ids=lambda stretch: f"{stretch[0].number}-{stretch[-1].number}")
def test_hops_of_one_thread_call_each_other(stretch: list[Hop]) -> None:
    """The code of a hop, or of one before it, names the function; or it names the one that it takes from."""
    for n, hop in enumerate(stretch[1:], start=1):
        before = [file for one in stretch[:n] for file in (one.file, *(file for file, _ in one.calculations))]
        assert any(names_it(file, hop.name) for file in before) or names_it(hop.file, stretch[n - 1].name), hop


@pytest.mark.parametrize("hop", [hop for hop in HOPS if hop.calculations], ids=lambda hop: str(hop.number))
def test_a_hop_calls_its_calculations(hop: Hop) -> None:
    """Itself, or one by another."""
    callers = [hop.file]
    for file, function in hop.calculations:
        assert any(names_it(caller, function) for caller in callers), function
        callers.append(file)


def test_what_the_page_counts_is_what_it_lists() -> None:
    text = PAGE.replace("\n", " ")
    said = re.findall(
        r"\(1 to (\d+)\): (\d+) hops, (\d+) files, (\d+) descriptions; with the calculations in brackets (\d+) files",
        text,
    )
    assert len(said) == 2
    for last, *figures in said:
        hops = HOPS[: int(last)]
        files = {hop.file for hop in hops}
        n_read = len(files | {file for hop in hops for file, _ in hop.calculations})
        n_descriptions = sum(hop.descriptions.count("◆") for hop in hops)
        assert [int(figure) for figure in figures] == [len(hops), len(files), n_descriptions, n_read], last
    assert int(said[-1][0]) == len(HOPS)
    (n_threads,) = re.findall(r"the pixels pass through (\d+) threads", text)
    assert int(n_threads) == sum(stretch[-1].number <= int(said[0][0]) for stretch in STRETCHES)


@pytest.mark.parametrize("page", ["README.md", ".github/CONTRIBUTING.md"])
def test_newcomers_find_it(page: str) -> None:
    assert "care_live/ARCHITECTURE.md)" in (ROOT / page).read_text(encoding="utf-8")


MOST_WITHOUT_TESTS = 0
"""Modules with functions whose tests have another name. This number may fall, and never rise."""


def test_modules_have_tests_of_their_name() -> None:
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    modules = [path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    without = [path for path in modules if path.stem not in tested and _functions(ast.parse(path.read_text("utf-8")))]
    named = sorted(path.relative_to(PACKAGE).as_posix() for path in without)
    assert len(named) <= MOST_WITHOUT_TESTS, "\n".join(named)


def _functions(module: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


OF_RECORDS = frozenset({"_replace", "_asdict", "_fields", "_repr_html_", "_index_file"})
"""Of named tuples and notebooks, and of NDTiff's own data set."""
OWN = frozenset({"self", "cls", "super", "os", "sys"})


def test_tests_read_nothing_private() -> None:
    """Neither an attribute of another object, nor a name that is replaced for a while."""
    private = {
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for line, name in names_of_others(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("_") and not name.startswith("__") and name not in OF_RECORDS
    }
    assert not private


def names_of_others(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            if not (isinstance(of, ast.Name) and of.id in OWN):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            texts = (one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str))
            yield from ((node.lineno, text.rpartition(".")[2]) for text in texts)
