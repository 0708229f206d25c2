"""Volumes that are examined with their truth."""

from __future__ import annotations

from care_live.model.card import EvidenceLimits
from care_live.trust import evidence, residual
from tests.trust.photons import measured_camera


def examined(left, camera, range_counts=40.0, interval=None):
    return evidence.examine(left, camera, evidence.Expected(EvidenceLimits(), range_counts, interval))


def found(scene, predicted, interval=None, **changed):
    camera = measured_camera(scene, **changed)
    return examined(residual.residual_of(scene.raw, predicted, camera), camera, interval=interval)
