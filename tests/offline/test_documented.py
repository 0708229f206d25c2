"""What README shows of the Python API runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.make.networks import noisy, save_network

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "open_network" in block)
    monkeypatch.chdir(tmp_path)
    save_network(tmp_path / "my_worm.onnx", filters=2)
    (tmp_path / "last_year").mkdir()
    stack = noisy((3, 16, 18))
    tifffile.imwrite("last_year/worm-1.tif", stack, ome=True, metadata={"axes": "ZYX"})
    scope: dict[str, object] = {"stack": stack}
    exec(code, scope)
    assert capsys.readouterr().out.endswith("1 []\n")
    assert scope["mean"].shape == stack.shape  # type: ignore[attr-defined]
    wanted = scope["result"].mean  # type: ignore[attr-defined]
    # Each measures which provider is the quickest here, and two providers differ in the last bits.
    np.testing.assert_allclose(scope["mean"], wanted, rtol=1e-6)  # type: ignore[call-overload]
