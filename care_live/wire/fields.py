"""What a field of a message may hold, for every protocol."""

from __future__ import annotations

from typing import Annotated

import msgspec

RunId = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
SessionId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Name = Annotated[str, msgspec.Meta(max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Key = tuple[Count, Count, Count]
"""t, p, c."""
FlagName = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}$")]
"""One of `care_live.images.Flag`, or one that a newer daemon knows."""
ReasonWord = Annotated[str, msgspec.Meta(pattern=r"^[a-z-]{1,32}$")]
RequestId = Count | msgspec.UnsetType
Micros = Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)]
Finite = Annotated[float, msgspec.Meta(gt=-1e300, lt=1e300)]
PlaneNumbers = Annotated[tuple[Count, ...], msgspec.Meta(max_length=65536)]
Ranges = tuple[tuple[Count, Count], ...]
"""Indices as ranges, first and last included."""
