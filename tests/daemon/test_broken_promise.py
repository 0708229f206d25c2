"""A run measures with its reference planes that its network is worse than the card promises, and says so everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from care_live.daemon.run_metrics import DaemonStatus
from care_live.model.card import ModelCard
from care_live.recorded.journal_lines import JOURNAL_NAME, scan
from care_live.store import RunReader
from care_live.verdict import Trust
from tests.make.networks import Graph, save_graph
from tests.make.runs import config, run
from tests.make.verdicts import card_verdict

pytestmark = [pytest.mark.slow, pytest.mark.mm]
HALF_PX = (1, 3, 3)
"""Of the box, (z, y, x)."""
N_TIMES = 7
SAYS = "show a larger error than the model card says"


def blurring(path: Path, *, network_db: float) -> Path:
    """Write a network that takes the mean of a box, and whose card says that it is good."""
    size = [2 * half + 1 for half in HALF_PX]
    graph = Graph(3, seed=1)
    counts = graph.add("Cast", "raw", to=TensorProto.FLOAT)
    weight = graph.constant(np.full((1, 1, *size), 1 / np.prod(size)))
    padded = graph.add("Pad", counts, graph.constant(np.array([0, 0, *HALF_PX, 0, 0, *HALF_PX])), mode="edge")
    graph.add("Conv", padded, weight, output="mean")
    span = graph.add("Reshape", graph.add("Sub", "high", "low"), graph.constant(np.array([1, 1, 1, 1, 1])))
    unsure = graph.add("Mul", span, graph.constant(np.array(0.2, np.float32)))
    graph.add("Add", graph.add("Mul", counts, graph.constant(np.array(0, np.float32))), unsure, output="laplace_scale")
    promised = card_verdict(raw_db=20.0, filter_db=28.0, network_db=network_db)
    card = ModelCard(name="blur", divisor=(1, 1, 1), halo_px=HALF_PX, heads=("mean", "laplace_scale"), verdict=promised)
    return save_graph(path, graph, card)


def blurred(folder: Path, network_db: float, *, evidence: bool) -> tuple[dict[int, Trust], DaemonStatus, bytes]:
    """Run the virtual microscope with that network; return each volume's verdict, the last status, and the journal."""
    network = blurring(folder / "blur.onnx", network_db=network_db)
    acquisition = {"time_points": N_TIMES, "z_planes": 12, "reference": {"every": 3, "planes": 1, "light": 30.0}}
    source = {"kind": "virtual", "shape_px": [96, 96], "acquisition": acquisition}
    restore = {"model": str(network), "policy": "defer", "evidence": evidence}
    status = run(config(folder, source, restore=restore))
    reader = RunReader(folder / "runs" / "test")
    trusts = {key.t: trust for key in reader.keys("restored") if (trust := reader.restoration(key).trust)}
    assert sorted(trusts) == list(range(N_TIMES))
    return trusts, status, (folder / "runs" / "test" / JOURNAL_NAME).read_bytes()


def newest_in(journal: bytes) -> int:
    """Return the time point that was restored last."""
    *_, newest = (record for record in map(json.loads, scan(journal).records) if record["kind"] == "restored")
    return int(newest["key"][0])


@pytest.mark.parametrize(("network_db", "is_broken"), [(40.0, True), (20.0, False)], ids=["too-much", "modest"])
def test_a_network_that_blurs_is_amber_where_its_card_promises_more(
    tmp_path: Path, network_db: float, is_broken: bool
) -> None:
    """Without the evidence the light rests on the references alone: amber is for the broken promise, and green else.

    Volumes may be restored in any order where the machine is slow, so only those behind two references say it.
    """
    trusts, status, journal = blurred(tmp_path, network_db, evidence=False)
    amber = {t: trust for t, trust in trusts.items() if trust.colour == "amber"}
    assert all(trust.colour == "green" and not trust.reasons for t, trust in trusts.items() if t not in amber)
    assert all(len(trust.reasons) == 1 and SAYS in trust.reasons[0] for trust in amber.values())
    assert bool(amber) == (SAYS.encode() in journal) == is_broken
    assert (status.trust_amber, status.trust_green) == (len(amber), N_TIMES - len(amber))
    assert status.measured_psnr_db is not None and status.measured_psnr_db < 36
    assert status.trust == str(trusts[newest_in(journal)])


@pytest.mark.parametrize(("network_db", "is_broken"), [(40.0, True), (20.0, False)], ids=["too-much", "modest"])
def test_a_broken_promise_is_said_beside_what_the_photons_say(
    tmp_path: Path, network_db: float, is_broken: bool
) -> None:
    """The photons accuse such a network in every volume; the promise adds its reason, and takes none away."""
    trusts, status, journal = blurred(tmp_path, network_db, evidence=True)
    broken = {t: trust for t, trust in trusts.items() if any(SAYS in reason for reason in trust.reasons)}
    assert bool(broken) == (SAYS.encode() in journal) == is_broken
    for trust in trusts.values():
        of_photons = [reason for reason in trust.reasons if SAYS not in reason]
        assert trust.sd and trust.colour != "green" and of_photons, trust
        assert bool(trust.doubts) == (trust.colour == "red"), "the promise is no place"
    colours = [trust.colour for trust in trusts.values()]
    assert (status.trust_red, status.trust_amber) == (colours.count("red"), colours.count("amber"))
    assert status.trust == str(trusts[newest_in(journal)])
