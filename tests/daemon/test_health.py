"""The status address: what it answers, and what its clients may hold."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest

from care_live.daemon.health import Health
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import ConfigError, RestoreError
from tests.make.status_address import ask


def test_health_answers_probes_status_and_metrics():
    ready = threading.Event()
    status = DaemonStatus(volumes=7, dropped_planes={"late": 2})
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
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_health_takes_orders_as_json_only():
    def swap(wanted):
        if "model" not in wanted:
            raise ConfigError("name a model")
        if wanted["model"] == "other.onnx":
            raise RestoreError("it works on a volume for too long")
        return f"loading {wanted['model']}"

    health = Health("127.0.0.1:0", DaemonStatus, lambda: True, {"/swap": swap})
    health.start()
    try:
        assert order(health.address, "/swap", b'{"model": "a.onnx"}') == (200, b"loading a.onnx")
        assert order(health.address, "/swap", b"{}") == (400, b"name a model")
        assert order(health.address, "/swap", b'{"model": "other.onnx"}')[0] == 409
        assert order(health.address, "/swap", b"no json")[0] == 400
        assert order(health.address, "/swap", b"[1]")[0] == 400
        assert order(health.address, "/swap", b'{"model": "a"}', "text/plain")[0] == 415
        assert order(health.address, "/stop", b"{}")[0] == 403
    finally:
        health.stop()


def test_a_taken_status_port_is_one_clear_line():
    first = Health("127.0.0.1:0", DaemonStatus, lambda: True)
    try:
        with pytest.raises(ConfigError, match=r"daemon\.status_bind"):
            Health(first.address, DaemonStatus, lambda: True)
    finally:
        first.stop()


def test_a_second_daemon_says_which_run_has_the_address_and_what_to_do() -> None:
    first = Health("127.0.0.1:0", lambda: DaemonStatus(run_id="evening", phase="running"), lambda: True)
    first.start()
    try:
        with pytest.raises(ConfigError, match=r"already: run evening, running\. End it first .*daemon\.status_bind"):
            Health(first.address, DaemonStatus, lambda: True)
    finally:
        first.stop()
