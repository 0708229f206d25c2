"""An error of one room ends at its bulkhead."""

import pytest

from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.run_metrics import Tally


def test_a_bulkhead_stops_every_error_counts_it_and_logs_the_first(caplog: pytest.LogCaptureFixture):
    tally = Tally()
    publishing = Bulkhead("publishing", "the run goes on unpublished", tally)
    for error in (OSError("gone"), ValueError("bad"), OSError("gone")):
        with publishing:
            raise error
    status = tally.status()
    assert status.faults == {"publishing": 3}
    assert status.warnings == ("publishing failed: OSError: gone; the run goes on unpublished",)
    assert len([line for line in caplog.records if line.levelname == "ERROR"]) == 1
