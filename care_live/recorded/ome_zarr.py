"""OME-Zarr 0.4 and 0.5: one image, a plate, or a folder of positions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from care_live.errors import SourceError
from care_live.images import Counts, Plan, PlaneIndex, read_only
from care_live.recorded.blosc_chunks import check_chunks
from care_live.recorded.ome_xml import UNITS_S, UNITS_UM
