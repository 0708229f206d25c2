"""Inbox, stage, ledger, tally and health: the daemon's small parts."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from care_live.daemon.health import Health
from care_live.daemon.inbox import Closed, Inbox
from care_live.daemon.memory import Ledger
from care_live.daemon.stage import Stage
from care_live.daemon.tally import Status, Tally
from care_live.errors import ConfigError, StageError
from care_live.images import NotRestored, StateChanged, VolumeKey
from tests.daemon.volumes import restored, volume


def test_a_full_inbox_holds_its_sender_up_until_there_is_room():
    inbox: Inbox[int] = Inbox("store", 100)
    inbox.put(1, 80)
    entered = threading.Event()
    sender = threading.Thread(target=lambda: (inbox.put(2, 80), entered.set()))
    sender.start()
    assert not entered.wait(0.1)
    assert inbox.get() == 1
    assert entered.wait(5)
    sender.join()
    assert inbox.waiting == (1, 80)


def test_an_item_larger_than_the_bound_still_flows():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put(1, 1000)
    assert inbox.get() == 1


def test_a_closed_inbox_drains_and_then_says_so():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put(1)
    inbox.close()
    assert inbox.get() == 1
    with pytest.raises(Closed):
        inbox.get()
    with pytest.raises(Closed):
        inbox.put(2)


def test_closing_frees_a_sender_that_waits():
    inbox: Inbox[int] = Inbox("store", 10)
    inbox.put(1, 10)
    outcome: list[str] = []

    def send() -> None:
        try:
            inbox.put(2, 10)
        except Closed:
            outcome.append("closed")

    sender = threading.Thread(target=send)
    sender.start()
    inbox.close()
    sender.join(5)
    assert outcome == ["closed"]


def test_a_stage_keeps_its_error_and_tells_its_owner():
    told: list[BaseException] = []

    def fail() -> None:
        raise ValueError("broken")

    stage = Stage("broken", fail, told.append)
    stage.start()
    stage.join(5)
    assert isinstance(stage.error, ValueError)
    assert told == [stage.error]


def test_a_stage_that_misses_its_deadline_is_an_error():
    free = threading.Event()
    stage = Stage("slow", free.wait, lambda error: None)
    stage.start()
    with pytest.raises(StageError, match="slow did not end within"):
        stage.join(0.05)
    free.set()
    stage.join(5)


def test_memory_comes_back_when_the_last_holder_lets_go():
    ledger = Ledger(100)
    key = VolumeKey(0)
    assert ledger.admit(80)
    assert not ledger.admit(80)
    ledger.hold(key)
    ledger.hold(key)
    ledger.release(key, 80)
    assert not ledger.admit(80)
    ledger.release(key, 80)
    assert ledger.admit(80)


def test_lost_skipped_and_suspect_are_counted_apart():
    tally = Tally(clock_ns=lambda: 50_000_000)
    tally.volume(volume(0))
    tally.not_restored(NotRestored(VolumeKey(0), "skipped", "newer"))
    tally.not_restored(NotRestored(VolumeKey(1), "failed", "killed"))
    for _ in range(2):
        tally.state(StateChanged(VolumeKey(0), "suspect"))
    tally.restored(restored(volume(2, last_plane_ns=20_000_000)))
    tally.restored(restored(volume(3), flags=frozenset({"late"})))
    status = tally.status()
    assert (status.volumes, status.skipped, status.failed, status.suspect) == (1, 1, 1, 1)
    assert (status.restored, status.restored_late) == (2, 1)
    assert status.age_ms_p50 == 30.0  # the late one has no age worth showing


def test_flicker_is_of_the_last_two_volumes_of_any_place() -> None:
    tally = Tally()
    for of, low, high in (
        (volume(0), 0, 100),
        (volume(0, p=1), 50, 150),
        (volume(1), 0, 100),
        (volume(1, p=1), 50, 150),
    ):
        tally.restored(restored(of, low=low, high=high))
    assert tally.status().flicker == 0.0
    tally.restored(restored(volume(2, p=1), low=50, high=250))
    assert tally.status().flicker == pytest.approx(0.5)
    tally.restored(restored(volume(3, p=1), low=50, high=250))
    assert tally.status().flicker == 0.0


def ask(address: str, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_health_answers_probes_status_and_metrics():
    ready = threading.Event()
    status = Status(volumes=7, dropped_planes={"late": 2})
    health = Health("127.0.0.1:0", lambda: status, ready.is_set)
    health.start()
    try:
        assert ask(health.address, "/livez")[0] == 200
        assert ask(health.address, "/readyz")[0] == 503
        ready.set()
        assert ask(health.address, "/readyz")[0] == 200
        assert json.loads(ask(health.address, "/status")[1])["volumes"] == 7
        metrics = ask(health.address, "/metrics")[1].decode()
        assert "care_live_volumes 7.0" in metrics
        assert 'care_live_dropped_planes{reason="late"} 2.0' in metrics
        assert ask(health.address, "/nowhere")[0] == 404
    finally:
        health.stop()


def order(address: str, path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_health_takes_orders_as_json_only():
    def swap(wanted):
        if "model" not in wanted:
            raise ConfigError("name a model")
        return f"loading {wanted['model']}"

    health = Health("127.0.0.1:0", Status, lambda: True, {"/swap": swap})
    health.start()
    try:
        assert order(health.address, "/swap", b'{"model": "a.onnx"}') == (200, b"loading a.onnx")
        assert order(health.address, "/swap", b"{}") == (400, b"name a model")
        assert order(health.address, "/swap", b"no json")[0] == 400
        assert order(health.address, "/swap", b"[1]")[0] == 400
        assert order(health.address, "/swap", b'{"model": "a"}', "text/plain")[0] == 415
        assert order(health.address, "/stop", b"{}")[0] == 403
    finally:
        health.stop()


def test_a_taken_status_port_is_one_clear_line():
    first = Health("127.0.0.1:0", Status, lambda: True)
    try:
        with pytest.raises(ConfigError, match=r"daemon\.status_bind"):
            Health(first.address, Status, lambda: True)
    finally:
        first.stop()
