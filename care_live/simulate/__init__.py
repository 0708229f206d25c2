"""Specimens and a microscope that exist only as numbers, seeded; numpy alone (psfmodels for a computed PSF).

Used by the virtual microscope, by training and by tests.
"""

from care_live.simulate.degrade import SharpPair, anisotropic, deconvolution_pair, turned_psf
from care_live.simulate.exposure_pairs import Pair, pair
from care_live.simulate.forms import draw_forms
from care_live.simulate.grid import Grid
from care_live.simulate.microscope import Light, Microscope, Sensor, sensor
from care_live.simulate.nuclei import draw_nuclei
from care_live.simulate.psf import GaussianSpot, Measured, Objective
from care_live.simulate.worm import Worm

__all__ = [
    "GaussianSpot",
    "Grid",
    "Light",
    "Measured",
    "Microscope",
    "Objective",
    "Pair",
    "Sensor",
    "SharpPair",
    "Worm",
    "anisotropic",
    "deconvolution_pair",
    "draw_forms",
    "draw_nuclei",
    "pair",
    "sensor",
    "turned_psf",
]
