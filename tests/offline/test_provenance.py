"""Whether more volumes may be added to a result: made by the same network, in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from care_live.config import RestoreConfig
from care_live.errors import ConfigError
from care_live.offline import provenance

WORM, OTHER = {"name": "worm3d", "sha256": "ab" * 32}, {"name": "worm3d", "sha256": "cd" * 32}


def made(network: dict[str, Any] = WORM, *, axes: str | None = None, **settings: Any) -> dict[str, Any]:
    config = RestoreConfig.model_validate(settings)
    return provenance.described(provenance.of(network, config, axes=axes, keep_raw=False))


def test_the_same_goes_on_whatever_else_the_file_says() -> None:
    provenance.refuse_other(made(threads=1), made(threads=8), "a.tif")


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (made(OTHER), r"with network worm3d \(sha256 abababab\), now worm3d \(sha256 cdcdcdcd\)"),
        (made(fast_mode=True), r"with settings\.fast_mode false, now true"),
        (made(axes="TZYX"), r'with settings\.axes null, now "TZYX"'),
        (made({"GFP": OTHER, "DAPI": WORM}), r"abababab.*now worm3d .*abababab\) for DAPI, .*cdcdcdcd\) for GFP"),
    ],
    ids=["another network", "other precision", "other axes", "a network a channel"],
)
def test_another_way_is_named(wanted: dict[str, Any], difference: str) -> None:
    with pytest.raises(ConfigError, match=difference):
        provenance.refuse_other(made(), wanted, "a.tif")


@pytest.mark.parametrize("is_begun_with", [False, True])
def test_a_camera_file_more_or_less_is_another_way(tmp_path: Path, is_begun_with: bool) -> None:
    (tmp_path / "a.camera").write_bytes(b"gain 2")
    found, wanted = made(), made(camera=tmp_path / "a.camera")
    if is_begun_with:
        found, wanted = wanted, found
    with pytest.raises(ConfigError, match=r"with settings\.camera (null, now \"crc32c|\"crc32c \w{8}\", now null)"):
        provenance.refuse_other(found, wanted, "a.tif")


def test_a_result_of_a_version_that_noted_no_camera_goes_on_without_one() -> None:
    older = made()
    del older["settings"]["camera"]
    provenance.refuse_other(older, made(), "a.tif")


def test_a_file_of_someone_else_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="care-live restore did not make it: choose another name"):
        provenance.refuse_other(None, made(), "a.tif")


def test_a_file_is_known_by_its_size_and_both_its_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(content := bytes(3 << 20))
    before = provenance.fingerprint(file)
    for changed in (b"x" + content[1:], content[:-1] + b"x", content + b"\0"):
        file.write_bytes(changed)
        assert provenance.fingerprint(file) != before
    assert provenance.fingerprint(tmp_path) is None and provenance.fingerprint("https://host/a.zarr") is None


def test_another_card_beside_a_foreign_network_is_another_way() -> None:
    before, after = ({**WORM, "card_sha256": digit * 64} for digit in "ab")
    provenance.refuse_other(made(before), made(before), "a.tif")
    with pytest.raises(ConfigError, match=r"abababab, card aaaaaaaa\), now worm3d .*, card bbbbbbbb\)"):
        provenance.refuse_other(made(before), made(after), "a.tif")
    with pytest.raises(ConfigError, match="card aaaaaaaa"):
        provenance.refuse_other(made({"GFP": before}), made({"GFP": after}), "a.tif")


def test_a_result_of_a_version_that_noted_no_card_goes_on() -> None:
    card = {**WORM, "card_sha256": "a" * 64}
    provenance.refuse_other(made(WORM), made(card), "a.tif")
    provenance.refuse_other(made({"GFP": WORM}), made({"GFP": card}), "a.tif")
