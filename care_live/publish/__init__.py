"""Protocol cl1 at both ends: `Publisher` for the daemon, `Subscriber` and `Listener` for watchers."""

from care_live.publish.delivery import Delivery
from care_live.publish.listener import Listener
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber, subscribe

__all__ = ["Delivery", "Listener", "Publisher", "Subscriber", "subscribe"]
