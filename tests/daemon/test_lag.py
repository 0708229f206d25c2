"""A disk that is too slow for the raw volumes."""

import pytest

from care_live.daemon.lag import Lag
from care_live.errors import StoreError


def test_a_disk_that_catches_up_in_time_ends_no_run():
    now = [0.0]
    lag = Lag(60.0, clock_s=lambda: now[0])
    lag.refused()
    now[0] = 59.0
    lag.look(n_behind=3)
    lag.look(n_behind=0)
    now[0] = 200.0
    lag.look(n_behind=3)
    lag.refused()
    now[0] = 261.0
    with pytest.raises(StoreError, match=r"too slow for 60 s: 1 raw volumes.*3 records"):
        lag.look(n_behind=3)
