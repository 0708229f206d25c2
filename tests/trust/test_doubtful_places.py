"""Places where to look twice."""

from __future__ import annotations

from tests.make.examined import found
from tests.trust.photons import SHAPE, nucleus, worm


def test_many_places_are_listed_apart_the_worst_first() -> None:
    scene = worm(11)
    places = [(4.0, 20.0, 20.0), (8.0, 60.0, 60.0), (11.0, 100.0, 30.0)]
    wrong = scene.truth + sum(nucleus(place, 4 + 4 * n, SHAPE) for n, place in enumerate(places))
    doubts = found(scene, wrong).doubts
    assert len(doubts) == 3
    assert [doubt.sigmas for doubt in doubts] == sorted((doubt.sigmas for doubt in doubts), reverse=True)
