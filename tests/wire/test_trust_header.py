"""A verdict comes back from a message and from the journal as it was said."""

from __future__ import annotations

from dataclasses import replace as replace_field

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.publish import describe
from care_live.recorded import run_records as records
from care_live.recorded.run_records import RestoredStored
from care_live.verdict import Doubt, MeasuredError, Trust
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


def test_what_a_resumed_run_needs_of_a_measured_error_is_in_the_journal_and_not_in_messages() -> None:
    sent = MeasuredError(3, 31.5, 0.88, 1.2, 0.03, 0.5)
    kept = replace_field(sent, reasons=("the intervals were too narrow",), broke=(1, 3))
    judged = replace(RESTORED, trust=Trust("amber", measured=kept))
    header = describe.volume_fields(judged, "confirmed")["trust"]
    assert trust_header.trust_of(header) == Trust("amber", measured=sent)
    made = RestoredStored.of(judged, {}, mantissa_bits=10)
    assert records.from_json(records.to_json(made)).trust == judged.trust
    older = records.to_json(made).replace(b',"reasons":["the intervals were too narrow"],"broke":[1,3]', b"")
    assert records.from_json(older).trust == Trust("amber", measured=sent)
