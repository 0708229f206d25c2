"""The domain check says in words in what a run differs from training, and nothing where they agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from care_live.model.card import TrainingDomain
from care_live.trust import domain
from care_live.trust.domain import VolumeTraits
from tests.trust.photons import CARD

TRAINED = TrainingDomain(exposure_ms=(10, 20), intensity_counts=(100, 200), signal_electrons=(10, 80), pixel_bits=16)
KNOWN = CARD.model_copy(update={"training": TRAINED})
ALIKE = VolumeTraits((1.0, 0.5, 0.5), 101, 180, signal_electrons=20, exposure_ms=15, pixel_bits=16)


def test_a_run_like_training_is_not_strange() -> None:
    assert domain.reasons(ALIKE, KNOWN) == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"voxel_size_um": (1.0, 0.13, 0.13)}, "voxels are 0.13 um, the network was trained at 0.5 um"),
        ({"voxel_size_um": (3.0, 0.5, 0.5)}, "voxels are 3 um along z, the network was trained at 1 um"),
        ({"exposure_ms": 100.0}, "the exposure is 100 ms, the network was trained with 10 to 20 ms"),
        ({"pixel_bits": 8}, "pixels have 8 bits, the network was trained with pixels of 16 bits"),
        ({"high": 900.0}, "intensities reach from 101 to 900 counts, in training from 100 to 200"),
        ({"signal_electrons": 2.0}, "photo-electrons, the network was trained with 10 to 80"),
        ({"saturated": 0.02}, "2.0% of the voxels are saturated"),
    ],
)
def test_what_differs_is_said(changed: dict, says: str) -> None:
    (reason,) = domain.reasons(replace(ALIKE, **changed), KNOWN)
    assert says in reason


def test_the_step_in_z_is_not_compared_for_a_network_of_single_planes() -> None:
    flat = KNOWN.model_copy(update={"axes": "YX"})
    assert domain.reasons(replace(ALIKE, voxel_size_um=(3.0, 0.5, 0.5)), flat) == ()
    (reason,) = domain.reasons(replace(ALIKE, voxel_size_um=(3.0, 0.13, 0.13)), flat)
    assert "voxels are 0.13 um, the network" in reason


def test_what_neither_knows_is_not_compared() -> None:
    assert domain.reasons(replace(ALIKE, exposure_ms=None, pixel_bits=None, signal_electrons=None), KNOWN) == ()
    assert domain.reasons(replace(ALIKE, exposure_ms=1e4, pixel_bits=8), CARD) == ()


@pytest.mark.parametrize(
    ("run", "network", "says"),
    [
        (["GFP"], ["GFP"], ""),
        (["GFP"], ["any"], ""),
        (["GFP", "DAPI"], ["channel-0", "channel-1"], ""),
        (["default"], ["GFP"], ""),
        (["DAPI"], ["GFP"], "channel DAPI is restored, the network was trained on GFP"),
        (["DAPI", "Cy5"], ["GFP", "Cy3"], "channels DAPI, Cy5 are restored, the network was trained on GFP, Cy3"),
    ],
)
def test_channels_are_compared_by_name(run: list[str], network: list[str], says: str) -> None:
    assert domain.of_channels(run, network) == ((says,) if says else ())
