"""Records as bytes and back: the one codec of cl1's headers, the tap's link, the journal and inference's pipe. Pure.

What is encoded is decoded once before it leaves, so that no receiver and no reader refuses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
from pydantic import BaseModel

from care_live.errors import CareLiveError, ProtocolError

R = TypeVar("R")


class Codec(Generic[R]):
    """One union of records that have a tag.

    Parameters
    ----------
    kinds : the union
    what : a name for the records in errors
    limit_bytes : the longest text
    look : looks at a text before it is decoded; raises what makes it unreadable
    refusal : the error that is raised
    form : MessagePack also has numbers that are infinite, and keys that are tuples
    """

    def __init__(
        self,
        kinds: Any,
        what: str,
        *,
        limit_bytes: int = 2**62,
        look: Callable[[memoryview], None] | None = None,
        refusal: type[CareLiveError] = ProtocolError,
        form: Literal["json", "msgpack"] = "json",
    ) -> None:
        self._what, self._limit_bytes, self._look, self._refusal = what, limit_bytes, look, refusal
        self.kinds = kinds
        of = msgspec.json if form == "json" else msgspec.msgpack
        self._encoder = of.Encoder(enc_hook=_plain)
        self._decoder: msgspec.json.Decoder[R] | msgspec.msgpack.Decoder[R] = of.Decoder(kinds, dec_hook=_made)

    def encode(self, record: R) -> bytes:
        """Return the text of a record.

        Raises
        ------
        ProtocolError, or `refusal`
            A field is not as its type says, or the text is too long.
        """
        try:
            text: bytes = self._encoder.encode(record)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._refusal(f"{type(record).__name__} cannot be written: {str(error)[:200]}") from error
        self.decode(text)
        return text

    def decode(self, text: bytes | memoryview) -> R:
        """Return the record of a text.

        Raises
        ------
        ProtocolError, or `refusal`
            The text is too long, or not one of these records. No other error is raised.
        """
        if len(text) > self._limit_bytes:
            raise self._refusal(f"{self._what} of {len(text)} bytes: at most {self._limit_bytes} travel")
        try:
            if self._look is not None:
                self._look(memoryview(text))
            return self._decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._refusal(f"{self._what} is invalid: {str(error)[:200]}") from error

    def _decode(self, text: bytes | memoryview) -> R:
        return self._decoder.decode(text)


def record_of(kind: Callable[..., R], source: object, /, **others: Any) -> R:
    """Return a record with the fields that another one has under the same names, and with `others`.

    >>> from care_live.images import RunEnded
    >>> record_of(RunEnded, RunEnded("failed", "no camera"), detail="")
    RunEnded(reason='failed', detail='', n_delivered=0, n_refused=0)
    """
    return kind(**{**fields_of(kind, source), **others})


def fields_of(kind: Callable[..., Any], *sources: object) -> dict[str, Any]:
    """Return the fields of a kind of record that others have under the same names."""
    found: dict[str, Any] = {}
    for source in sources:
        of: Any = type(source)
        found |= {name: getattr(source, name) for name in _shared(kind, of)}
    return found


@cache
def _shared(kind: Callable[..., Any], source: type) -> tuple[str, ...]:
    """Return the parameters that have a field, or a property, of the same name."""
    fields = getattr(source, "__dataclass_fields__", {})
    return tuple(name for name in inspect.signature(kind).parameters if hasattr(source, name) or name in fields)


def _plain(value: Any) -> Any:
    """Return a number of numpy, or a record of pydantic, as it is written."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} is neither number, text nor record")


def _made(kind: type, said: Any) -> Any:
    if issubclass(kind, BaseModel):
        return kind.model_validate(said)
    raise TypeError(f"{kind.__name__} is not read")
