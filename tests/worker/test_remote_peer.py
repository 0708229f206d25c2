"""What is known of a worker on another machine: whether it is free, for whom it works, what is lost with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from care_live.worker.remote_peer import RemotePeer


class Run(SimpleNamespace):
    """A process of the worker, as the daemon sees it."""

    def lose(self, how: str) -> None:
        self.how = how
        if self.leaves is not None:  # what it was is taken off the list while it is lost
            self.leaves.runs.pop(self.number)


def peer_with(*owners: object) -> tuple[RemotePeer, list[Any]]:
    peer = RemotePeer(b"a", "far")
    runs = [Run(owner=owner, how="", leaves=peer, number=number) for number, owner in enumerate(owners)]
    peer.runs.update(enumerate(runs))
    return peer, runs


def test_it_is_free_until_it_gets_a_session_and_after_it_has_left_it() -> None:
    peer = RemotePeer(b"a", "far")
    assert peer.is_free
    peer.last_session = 0
    assert not peer.is_free, "the first session has number 0"
    peer.last_session = None
    assert peer.is_free


def test_it_works_for_each_owner_of_one_of_its_processes_and_for_no_other() -> None:
    peer, _ = peer_with("worker 0", "worker 1")
    assert peer.works_for("worker 0") and peer.works_for("worker 1")
    assert not peer.works_for("worker 2")
    assert not RemotePeer(b"b", "far").works_for("worker 0")


def test_all_of_its_processes_are_lost_with_it_though_each_leaves_the_list() -> None:
    peer, runs = peer_with("worker 0", "worker 0", "worker 1")
    peer.lose("the link broke")
    assert [run.how for run in runs] == ["the link broke"] * 3
    assert not peer.runs
