"""What a run says of its networks."""

from __future__ import annotations

from care_live.config import ChannelNetwork
from care_live.daemon.channel_networks import NetworksThatRan, in_use
from care_live.images import ModelIdentity
from care_live.model.card import ModelCard
from care_live.restore.channel_choice import ChannelChoice, NetworkWish, choose
from care_live.worker.protocol import NetworkReady
from tests.make.records import restored
from tests.make.stored import make_volume

CARD = ModelCard(name="net", divisor=(1, 4, 4), halo_px=(2, 8, 8))


def ready(sha256: str) -> NetworkReady:
    return NetworkReady(CARD, ModelIdentity("net", sha256), "cpu")


def test_a_network_whose_channel_the_run_lacks_is_not_said_to_make_all() -> None:
    channels, wrong = choose([NetworkWish(CARD, ("GFP",)), NetworkWish(CARD, ("Cy5",))], ("GFP", "RFP"))
    assert len(wrong) == 1
    assert [(one.identity.sha256, one.channels) for one in in_use([ready("a"), ready("b")], channels)] == [("a", (0,))]


def test_one_file_that_two_channels_have_is_there_once() -> None:
    channels, _ = choose([NetworkWish(CARD, ("GFP",)), NetworkWish(CARD, ("RFP",))], ("GFP", "RFP"))
    assert [one.channels for one in in_use([ready("a"), ready("a")], channels)] == [(0, 1)]


def test_what_each_network_has_restored_is_counted_also_behind_a_change_and_anew_in_each_run() -> None:
    ran, asked = NetworksThatRan(), [ChannelNetwork(None, (name,)) for name in ("GFP", "RFP")]
    ran.remember([ready("a"), ready("b")])

    def counted(*running: str) -> list[int]:
        return [one["restored"] for one in ran.described([ready(one) for one in running], asked, [])]

    ran.restored(0, [restored(make_volume(), model=ModelIdentity("net", "a"))])
    ran.restored(1, [restored(make_volume(), model=ModelIdentity("net", "b"))] * 2)
    assert counted("a", "b") == [1, 2]
    assert counted("c", "b") == [0, 2], "another network has taken over"
    assert counted("a", "b") == [1, 2], "and the one before is back"
    assert ran.network_of(ModelIdentity("net", "b"), ready("c")).identity.sha256 == "b"
    assert ran.network_of(ModelIdentity("net", "x"), ready("c")).identity.sha256 == "c"
    ran.begin_run()
    assert counted("a", "b") == [0, 0]


def test_the_only_network_makes_all() -> None:
    assert [one.channels for one in in_use([ready("a")], ChannelChoice())] == [()]
