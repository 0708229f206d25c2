"""Protocol cl1 at both ends: `Publisher` for the daemon, `Subscriber` for whoever watches."""

from care_live.publish.publisher import Publisher
from care_live.publish.seen import LiveVolume
from care_live.publish.slabs import RestoredSlab
from care_live.publish.subscriber import Subscriber, subscribe

__all__ = ["LiveVolume", "Publisher", "RestoredSlab", "Subscriber", "subscribe"]
