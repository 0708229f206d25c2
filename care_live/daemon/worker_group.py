"""Several inference processes as one restorer: each volume goes to one of them, and a lost one's goes to another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from care_live.config import RestoreConfig
from care_live.daemon import channel_networks, worker_states
from care_live.daemon.group_swap import GroupSwap
from care_live.daemon.placement import Placement
from care_live.daemon.remote_workers import RemoteWorkers
from care_live.daemon.shared_ranges import SharedRanges
from care_live.errors import WorkerLostError
from care_live.images import ModelIdentity, NetworkInUse, Restored, Volume, VolumeKey
from care_live.percentiles import Span
from care_live.reasons import Choice, whole
from care_live.restore.channel_choice import ChannelChoice, NetworkWish, choose
from care_live.restore.ranges import LearntRanges
from care_live.worker import protocol
from care_live.worker.client import RestoreProcess
from care_live.worker.earlier_volumes import EarlierVolumes


class WorkerGroup:
    """One worker, or several that are alike: `start`, `restore` with any of them, `stop`.

    What a volume teaches about intensity is kept here for all workers, so that each volume gets the range that one
    worker would have given it, whichever restores it. `config` is that of all workers together.
    """

    def __init__(self, config: RestoreConfig) -> None:
        self._remote, self._n_here = RemoteWorkers(config), len(config.each_worker)
        self._configs = config.each_worker + config.each_remote_worker
        self._guard = threading.Lock()
        self._ranges = SharedRanges(config.normalise)
        self._learnt_before: LearntRanges = {}
        """By the network that ran before the last change."""
        self._n_restored: dict[RestoreProcess, int] = {}
        self._at_work: set[RestoreProcess] = set()
        self._channels: ChannelChoice | None = None
        self._past = channel_networks.NetworksThatRan()
        self.workers = tuple(map(RestoreProcess, self._configs))
        self.arrivals = Placement(self.workers)
        """Planes of volumes that are still being recorded."""
        self.earlier = EarlierVolumes()
        """Raw volumes for networks that read earlier time points."""
        self.swap = GroupSwap(self.workers, self._note_change)
        """Another network for all workers, where there are several."""
        self.choice: Choice | None = None
        """Whether the last volume was streamed, and why; None before the first."""

    @property
    def network(self) -> protocol.NetworkReady:
        """The first network, of most runs the only one: card, identity, provider; once started."""
        return self.workers[0].network

    @property
    def networks(self) -> tuple[protocol.NetworkReady, ...]:
        """What runs; once started."""
        return self.workers[0].networks

    def network_of(self, identity: ModelIdentity) -> protocol.NetworkReady:
        """Return the network that made a result, also where another one has taken over since."""
        return self._past.network_of(identity, self.network)

    def in_use(
        self, channels: ChannelChoice, last: Mapping[int, ModelIdentity] | None = None
    ) -> tuple[NetworkInUse, ...]:
        """Return the networks with the channels that each of them makes.

        Parameters
        ----------
        last : by number, what made the newest result: another network may have taken over since
        """
        made_by = dict(enumerate(one.identity for one in self.networks)) | dict(last or {})
        networks = [self._past.network_of(made_by[n], network) for n, network in enumerate(self.networks)]
        return channel_networks.in_use(networks, channels)

    def choose(self, of_run: Sequence[str]) -> tuple[ChannelChoice, tuple[str, ...]]:
        """Find the channels of a run that begins, by name, and send planes by them; also return what is wrong."""
        named = zip(self.networks, self._configs[0].networks, strict=True)
        channels, wrong = choose([NetworkWish(network.card, one.channels) for network, one in named], of_run)
        self._channels = channels
        self._past.begin_run()
        self.arrivals.go_by(channels, self.earlier)
        return channels, wrong

    @property
    def is_running(self) -> bool:
        """Whether a volume that comes now would be restored."""
        return any(worker.supervisor.running is not None for worker in self.workers)

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Of the workers that run on this machine."""
        return tuple(number for worker in self.workers if (number := worker.supervisor.process_id) is not None)

    @property
    def n_restarts(self) -> int:
        """Processes that had to be replaced."""
        return sum(worker.supervisor.n_restarts for worker in self.workers)

    @property
    def n_losses_in_a_row(self) -> int:
        """Processes that the luckiest worker lost since its last volume."""
        return min(worker.supervisor.n_losses_in_a_row for worker in self.workers)

    @property
    def swap_state(self) -> str:
        """State or result of the last swap; empty when there was none."""
        return self.swap.state

    def start(self) -> None:
        """Start every worker and wait until all of this machine are ready; see `RestoreProcess.start`.

        The first one chooses the provider for all, since another one computes other last bits. Others elsewhere follow.
        """
        try:
            self._remote.start()
            self.workers = (first := self._worker(0),)
            with self._remote.blamed():
                first.start()
            providers = [network.provider for network in first.networks]
            self.workers = (first, *(self._worker(n, providers) for n in range(1, len(self._configs))))
            self.arrivals = Placement(self.workers)
            self.swap = GroupSwap(self.workers, self._note_change)
            with ThreadPoolExecutor(len(self.workers), "start") as threads:
                list(threads.map(RestoreProcess.start, self.workers[1 : self._n_here]))
            for worker in self.workers[max(1, self._n_here) :]:
                worker.start(like=first.supervisor.living().ready)
        except BaseException:
            self.stop(0.0)
            raise

    def _worker(self, number: int, providers: Sequence[str] = ()) -> RestoreProcess:
        own = self._configs[number].with_providers(providers) if providers else self._configs[number]
        return RestoreProcess(own) if number < self._n_here else RestoreProcess(own, self._remote.open_for(number))

    def may_take(
        self, worker: RestoreProcess, keys: Sequence[VolumeKey], at_work: Collection[VolumeKey] = frozenset()
    ) -> bool:
        """Return whether a worker should restore a time point now.

        It waits while an earlier volume of its position, which may still change its range, is not measured yet; and it
        is left to the worker through which it streams, as long as this one lives.

        Parameters
        ----------
        keys : of the time point
        at_work : volumes that are being restored
        """
        if len(self.workers) > 1 and not self.swap.may_take(keys[0], at_work):
            return False
        if any(key.p == keys[0].p and self._ranges.wait_for(key) for key in at_work) and not self._ranges.know(keys):
            return False
        streams = self.arrivals.worker_of(keys[0])
        if streams is None or streams is worker:
            return True
        return not (streams.supervisor.is_ready and streams.arrivals.is_streaming(keys[0]))

    def n_past(self, key: VolumeKey) -> int:
        """Return how many earlier time points the network of a volume reads."""
        group = None if self._channels is None else self._channels.group_of(key)
        return 0 if group is None else self.networks[group.network].card.past

    def keep(self, volume: Volume) -> None:
        """Keep a raw volume where the next ones of its channel are read with it."""
        self.earlier.keep(volume, self.n_past(volume.key))

    def measure(self, volumes: Sequence[Volume]) -> bool:
        """Learn the range of a time point that a worker has taken; return whether others may have waited for that.

        One worker alone learns it as it restores.
        """
        if len(self.workers) == 1:
            return False
        group = None if self._channels is None else self._channels.group_of(volumes[0].key)
        return self._ranges.measure(self.networks[0 if group is None else group.network].card, volumes)

    def restore(
        self,
        worker: RestoreProcess,
        volumes: Sequence[Volume],
        *,
        stored: Callable[[VolumeKey], Volume | None] = lambda key: None,
    ) -> tuple[Restored, ...]:
        """Restore one time point with one of the workers; see `RestoreProcess.restore`.

        Parameters
        ----------
        stored : reads a raw volume of the run from the disk, for a network that reads earlier time points

        Raises
        ------
        WorkerLostError
            The worker was lost: another one may take the time point.
        RestoreError
            The network failed.
        """
        if len(self.workers) > 1 and not worker.supervisor.is_ready:
            worker.watch()
            raise WorkerLostError("the inference process was lost before it got this volume")
        self._take_over(worker, volumes[0].key)
        self._teach(worker, volumes)
        self._past.remember(worker.networks)
        keys = [volume.key for volume in volumes]
        with self._working(worker):  # which network it has then, and how far that one looks back, it knows itself
            restored = worker.restore(volumes, earlier=lambda n_past: self.earlier.before(keys, n_past, stored))
        self._learn(worker, volumes, restored)
        return restored

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Let every worker get ready for volumes (z, y, x) that will come. Does not wait."""
        for worker in self.workers:
            worker.supervisor.warm_up(shape)

    def resume(self, spans: Mapping[tuple[int, int], Span]) -> None:
        """Go on with the intensity ranges, by position and channel, of a run that was interrupted."""
        learnt = self._ranges.resume(spans)
        for worker in self.workers:
            worker.learn(learnt)

    def watch(self) -> None:
        """Replace workers that are lost while no volume waits for them; to be called every now and then."""
        for worker in self.workers:
            worker.watch()
        if len(self.workers) > 1:
            self.swap.look()
        self._remote.check()

    def order_swap(
        self, model: Path, channel: str = "", *, interval_s: Callable[[], float | None], even_if_slow: bool
    ) -> bool:
        """Let another network take over from that of a channel; see `HotSwap.order`, `channel_networks.number_of`.

        Several workers change before the same volume. Returns whether one on trial is given up for it.
        """
        network = channel_networks.number_of(self._configs[0].networks, channel)
        given_up = self.swap.give_up("another network was ordered")
        if len(self.workers) > 1:
            self.swap.order(model, network, interval_s=interval_s, even_if_slow=even_if_slow)
        else:
            self.workers[0].hot_swap.order(model, network=network, interval_s=interval_s, even_if_slow=even_if_slow)
        return given_up

    def rollback(self) -> str:
        """Give up the network on trial; else go back to the one before the last swap. Return that in words.

        Raises
        ------
        RestoreError
            There was no swap, or the running network works on one volume for too long.
        """
        if self.swap.give_up("it was undone"):
            return f"the network on trial is given up; the run goes on with {channel_networks.names(self.networks)}"
        if len(self.workers) > 1:
            self.swap.order_back()
            return f"{len(self.workers)} workers go back to the network before from the next volume on"
        self.workers[0].rollback()
        return f"back to {channel_networks.names(self.networks)}"

    def stop(self, deadline_s: float = 10.0) -> None:
        """End every worker: by a message, then by force; a `restore` in another thread then raises."""
        with contextlib.ExitStack() as ending:
            ending.callback(self._remote.close)  # also where a worker's end raises
            threads = ending.enter_context(ThreadPoolExecutor(len(self.workers), "stop"))
            list(threads.map(lambda worker: worker.stop(deadline_s), self.workers))

    def networks_described(self) -> tuple[dict[str, Any], ...]:
        """Return for the status what each of several networks does; empty where there is one."""
        return self._past.described(self.networks, self._configs[0].networks, [one.held_bytes for one in self.workers])

    def described(self) -> tuple[dict[str, Any], ...]:
        """Return for the status what each worker does; empty where there is one, on this machine."""
        if len(self.workers) == 1 and self._n_here:
            return ()
        described = worker_states.described(self.workers, self._configs, self._n_restored, self._at_work)
        return tuple(map(self._remote.explained, described))

    def _note_change(self, forward: bool) -> None:
        """Go on with the ranges that fit the network to come: those of the one before, where both measure alike."""
        learnt, before = self._ranges.learnt, self._learnt_before
        self._learnt_before = learnt
        kept = self.workers[0].hot_swap.kept_ranges(learnt, self.networks) if forward else before
        self._ranges.go_on_with(kept)

    def _take_over(self, worker: RestoreProcess, key: VolumeKey) -> None:
        """Let the worker that got a time point's planes drop them where another one restores it."""
        before = self.arrivals.worker_of(key)
        self.arrivals.forget(key)
        if before is not None and before is not worker:
            worker.arrivals.refuse(key, before.arrivals.drop(key) or whole("moved"))

    def _teach(self, worker: RestoreProcess, volumes: Sequence[Volume]) -> None:
        """Give a worker the ranges that the volumes before have taught, whichever worker restored them."""
        if len(self.workers) > 1:  # one worker knows them, and after a swap better
            self.measure(volumes)
            worker.learn(self._ranges.before(volumes))

    def _learn(self, worker: RestoreProcess, volumes: Sequence[Volume], restored: Sequence[Restored]) -> None:
        group = None if self._channels is None else self._channels.group_of(volumes[0].key)
        self._past.restored(0 if group is None else group.network, restored)
        self._ranges.restored(volumes, worker.supervisor.learnt)
        with self._guard:
            self.choice = worker.choice
            self._n_restored[worker] = self._n_restored.get(worker, 0) + 1

    @contextlib.contextmanager
    def _working(self, worker: RestoreProcess) -> Iterator[None]:
        self._at_work.add(worker)
        try:
            yield
        finally:
            self._at_work.discard(worker)
