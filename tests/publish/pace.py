"""A publisher and a viewer that are not attacked, in a process of their own: how fast is this machine just now?

For each line on its standard input it publishes three volumes, each once the one before has come to the viewer, and
answers with a line.
"""

from __future__ import annotations

import sys

from care_live.publish import Publisher, Subscriber
from tests.make import samples

SHAPE = (8, 128, 128)


def main() -> None:
    with Publisher(samples.config()) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        with Subscriber(publisher.address_pull) as viewer:
            volumes, t = viewer.volumes(), 0
            for _ in sys.stdin:
                for _ in range(3):
                    publisher.publish(samples.restored(t, shape=SHAPE))
                    while next(volumes).key.t != t:
                        pass
                    t += 1
                print("three volumes", flush=True)


if __name__ == "__main__":
    main()
