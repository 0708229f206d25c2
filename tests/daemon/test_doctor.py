"""The doctor finds what is wrong, and says what to do."""

from __future__ import annotations

import socket
from importlib.util import find_spec

from care_live.config import parse
from care_live.daemon.doctor import examine


def findings(**sections: object) -> dict:
    return {finding.check: finding for finding in examine(parse(sections, origin="test"))}


def test_a_sound_machine_has_no_bad_finding_but_taken_ports(tmp_path):
    found = findings(store={"directory": str(tmp_path / "runs")})
    for check in ("python", "model", "onnx runtime", "micro-manager", "disk space", "disk speed"):
        assert found[check].verdict != "bad", found[check]
    assert "CPU" in found["onnx runtime"].seen
    wanted = "fast mode computes in" if find_spec("openvino") else "not installed"
    assert wanted in found["openvino"].seen


def test_a_taken_port_and_a_missing_model_are_named_with_advice(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = findings(daemon={"status_bind": address}, restore={"model": str(tmp_path / "none.onnx")})
    assert found["daemon.status_bind"].verdict == "bad"
    assert "daemon.status_bind" in found["daemon.status_bind"].advice
    assert found["model"].verdict == "bad"
    assert "none.onnx" in found["model"].seen


def test_a_channel_that_the_run_lacks_is_named(tmp_path):
    entries = [{"name": "DAPI", "model": "worm3d"}, {"name": "FITCC", "model": "forms"}]
    found = findings(store={"directory": str(tmp_path)}, restore={"channel": entries})
    assert found["channels"].verdict == "bad"
    assert found["channels"].seen == "the run has DAPI: nothing of FITCC would be restored"
    assert "FITCC" not in found["model"].seen, "the network of no channel of the run is not good for it"


def test_a_micro_manager_that_is_not_running_is_named():
    found = findings(source={"kind": "micromanager", "backend": "java", "port": 1})
    assert found["micro-manager server"].verdict == "bad"
    assert "Run server" in found["micro-manager server"].advice
