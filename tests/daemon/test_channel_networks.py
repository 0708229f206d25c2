"""What a run says of its networks."""

from __future__ import annotations

from care_live.daemon.channel_networks import in_use
from care_live.images import ModelIdentity
from care_live.model.card import ModelCard
from care_live.restore.channel_choice import ChannelChoice, NetworkWish, choose
from care_live.worker.protocol import NetworkReady

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


def test_the_only_network_makes_all() -> None:
    assert [one.channels for one in in_use([ready("a")], ChannelChoice())] == [()]
