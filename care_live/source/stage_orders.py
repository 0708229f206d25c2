"""What a virtual microscope in Live may be ordered, and its job: JSON, one a line."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from care_live.errors import ConfigError


class LiveJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Live and runs go, how its taps are named, and the microscope's section of the config."""

    address: str
    address_of_runs: str
    origin: str
    microscope: dict[str, Any]


class StageOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person or a script wants; what is absent stays as it is."""

    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None
    by_um: float | None = None
    """Moves the focus by this much; not together with z_um."""
    exposure_ms: float | None = None
    laser: float | None = None
    live: bool | None = None
    snap: bool = False
    acquire: dict[str, Any] | None = None
    """A useq.MDASequence: Live stops, the sequence is recorded as a run, and Live goes on."""


class OrderAnswer(msgspec.Struct, frozen=True):
    """What became of an order."""

    number: int
    """Of the order, from 0."""
    error: str = ""
    """Why it was not carried out; empty: it was."""


def order_of(wanted: object) -> StageOrder:
    """Check an order.

    Raises
    ------
    ConfigError
        A key is unknown, a value of the wrong type or not finite, nothing is ordered, or two heights are.
    """
    try:
        order = msgspec.convert(wanted, StageOrder)
    except msgspec.ValidationError as error:
        known = ", ".join(StageOrder.__struct_fields__)
        raise ConfigError(f"the order is invalid: {error}; it may have {known}") from error
    if order == StageOrder():
        raise ConfigError(f"the order is empty: it may have {', '.join(StageOrder.__struct_fields__)}")
    if order.z_um is not None and order.by_um is not None:
        raise ConfigError("z_um says where the focus goes, by_um how far it moves: give one of them")
    for name in ("x_um", "y_um", "z_um", "by_um"):
        if (value := getattr(order, name)) is not None and not math.isfinite(value):
            raise ConfigError(f"{name} = {value:g}: wanted micrometres")
    for name in ("exposure_ms", "laser"):
        if (value := getattr(order, name)) is not None and not 0 < value < 1e6:
            raise ConfigError(f"{name} = {value:g}: wanted a positive number")
    return order
