"""A person's words for how a network is run, as the method takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.offline.settings import NetworkSettings, is_numbers, restore_config, what_shapes_the_result


def test_whole_volumes_and_a_range_that_locks() -> None:
    config = restore_config({})
    assert config.streaming == "off"
    assert config.normalise.mode == "locked-after-k"
    assert restore_config({"normalise": "per-volume"}).normalise.mode == "per-volume"


def test_counts_fix_the_range() -> None:
    fixed = restore_config({"counts": (100.0, 3000.0)}).normalise
    assert (fixed.mode, fixed.low_counts, fixed.high_counts) == ("fixed", 100.0, 3000.0)


@pytest.mark.parametrize("settings", [{"treads": 4}, {"threads": -1}, {"provider": "tpu"}])
def test_a_mistake_is_one_line(settings: NetworkSettings) -> None:
    with pytest.raises(ConfigError) as caught:
        restore_config(settings)
    assert next(iter(settings)) in str(caught.value) and "\n" not in str(caught.value)


def test_threads_do_not_shape_a_result_and_the_range_does() -> None:
    plain = what_shapes_the_result(restore_config({}))
    assert plain == what_shapes_the_result(restore_config({"threads": 7}))
    assert plain != what_shapes_the_result(restore_config({"quantised": True}))
    fixed = [what_shapes_the_result(restore_config({"counts": (0.0, high)})) for high in (1000.0, 2000.0)]
    assert fixed[0] != fixed[1]


def test_a_camera_is_known_by_what_its_file_says_wherever_it_lies(tmp_path: Path) -> None:
    contents = {"a.camera": b"gain 2", "moved.camera": b"gain 2", "other.camera": b"gain 4"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    first, moved, other = (what_shapes_the_result(restore_config({"camera": tmp_path / name})) for name in contents)
    assert first == moved and first["camera"] != other["camera"]
    assert what_shapes_the_result(restore_config({}))["camera"] is None
    with pytest.raises(ConfigError, match="cannot read the camera file"):
        what_shapes_the_result(restore_config({"camera": tmp_path / "missing.camera"}))


def test_only_one_and_two_bytes_are_counts() -> None:
    assert [is_numbers(dtype) for dtype in ("uint8", "uint16", "int16", "float32")] == [False, False, True, True]
