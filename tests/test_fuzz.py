"""tools/fuzz.py: damage follows from its seed, and every kind of failure is seen, kept and shown again."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
TARGETS = [
    "card", "cl1", "csbdeep", "link", "ndtiff", "ome-tiff", "ome-zarr", "onnx", "run", "syscalls", "tiff",
]  # fmt: skip
BROKEN = '''
"""A reader with one fault of each kind: which one, the first byte says."""
import os, time
from fuzzing.damage import Case
from fuzzing.target import WrongError
from care_live.errors import ProtocolError

class Broken:
    def originals(self, folder):
        return [{"0": b"good"}]

    def damaged(self, sound, chance):
        return Case(sound, {"0": chance.choice([b"refuse", b"lines", b"foreign", b"wrong", b"hang", b"die", b"eat"])})

    def read(self, case, folder):
        match case.files["0"]:
            case b"refuse":
                raise ProtocolError("one line")
            case b"lines":
                raise ProtocolError("two\\nlines")
            case b"foreign":
                raise KeyError("x")
            case b"wrong":
                raise WrongError("taken for good")
            case b"hang":
                time.sleep(3600)
            case b"die":
                os.abort()
            case b"eat":
                bytearray(os.urandom(1)) * (700 * 2**20)

target = Broken
'''


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Make the tools' packages, and one of this test, importable here and in the children."""
    (tmp_path / "broken_target.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in {"fuzzing", "fuzz", "broken_target"}]:
        del sys.modules[name]


def fuzz() -> ModuleType:
    return importlib.import_module("fuzz")


def test_damage_follows_from_the_seed(tools: Path) -> None:
    damage = importlib.import_module("fuzzing.damage")
    sound = {"a": bytes(range(200)), "b": b'{"n": 3, "list": [1, {"x": "y"}]}'}

    def damaged() -> list[object]:
        bytes_ = [damage.damage_bytes(sound, random.Random(n), "a").files["a"] for n in range(200)]
        return [*bytes_, *(damage.damage_json(sound, random.Random(n), "b").files["b"] for n in range(500))]

    assert damaged() == damaged()
    assert len(set(damaged())) > 300


@pytest.mark.parametrize("data", [b"", b"x", b"{}", b"[" * 900, b'{"a":' * 900 + b"1" + b"}" * 900])
def test_anything_can_be_damaged(tools: Path, data: bytes) -> None:
    damage = importlib.import_module("fuzzing.damage")
    for n in range(300):
        damage.damage_bytes({"a": data}, random.Random(n), "a")
        damage.damage_json({"a": data}, random.Random(n), "a")


SEED, N_INPUTS = 10, 10
"""This seed has each fault that ends a child once, and one of the others twice."""


@pytest.mark.slow
def test_every_kind_of_failure_is_seen_kept_and_shown_again(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = importlib.import_module("fuzzing.campaign")
    one = campaign.Campaign("broken", "broken_target", SEED, 250.0, tools / "out", n_inputs=N_INPUTS, deadline_s=12.0)
    tally = one.run()
    assert set(tally.kinds) == {"accepted", "refused", "foreign", "wrong", "hang", "crash", "memory"}
    assert tally.kinds.total() == N_INPUTS
    assert len(tally.failures) == len(list((tools / "out").iterdir())) == 6, tally.failures
    assert "time.sleep" in BROKEN and "broken_target" in next(
        outcome.detail for outcome in tally.failures.values() if outcome.kind == "hang"
    )
    assert tally.n_failed == 7, "one came twice"
    (wrong,) = [digest for digest, outcome in tally.failures.items() if outcome.kind == "wrong"]
    child = importlib.import_module("fuzzing.child")
    again = child.replay("broken_target", tools / "out" / f"broken-{wrong}", tools / "again")
    assert again.digest == wrong
    assert f"--replay {tools / 'out' / f'broken-{wrong}'}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_sound_inputs_are_accepted(tools: Path, target: str) -> None:
    campaign, tool = importlib.import_module("fuzzing.campaign"), fuzz()
    tally = campaign.Campaign(target, tool.module(target), 1, 120.0, tools / "out", n_inputs=1).run()
    assert tally.kinds == {"accepted": 1}, tally.failures


def test_every_target_is_tested(tools: Path) -> None:
    assert sorted(fuzz().TARGETS) == sorted(TARGETS)
