"""A verdict comes back from a message and from the journal as it was said."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.publish import describe
from care_live.recorded import run_records as records
from care_live.recorded.run_records import RestoredStored
from care_live.verdict import Doubt, Trust
from care_live.wire import trust_header
from tests.make.records import restored, volume

RESTORED = restored(volume(np.zeros((4, 8, 8), np.uint16)), {"mean": np.zeros((4, 8, 8), np.float32)})
TRUST = Trust(
    "red",
    ("the restoration shows something that the camera did not count",),
    (Doubt("invented", (3, 40, 90), 12.5), Doubt("missing", (1, 2, 3), 8.0)),
    sd=(1.0, 1.1, 0.9),
    share=1e-5,
    camera="gain 2.2 counts/e",
    is_out_of_domain=True,
)


@pytest.mark.parametrize("trust", [TRUST, Trust("green"), None], ids=["red", "green", "none"])
def test_a_verdict_comes_back_from_a_header(trust: Trust | None) -> None:
    fields = describe.volume_fields(replace(RESTORED, trust=trust), "confirmed")
    assert trust_header.trust_of(fields["trust"]) == trust


def test_a_verdict_comes_back_from_the_journal() -> None:
    made = RestoredStored.of(replace(RESTORED, trust=TRUST), {}, mantissa_bits=10)
    assert records.from_json(records.to_json(made)).trust == TRUST
