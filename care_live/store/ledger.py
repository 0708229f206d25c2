"""What is stored in a run: the journal's records, applied one after the other."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from care_live.acquisition_plan import one_key
from care_live.errors import StoreError
from care_live.images import NotRestored, State, VolumeKey
from care_live.recorded.run_records import (
    ModelNoted,
    NotRestoredNoted,
    RawStored,
    Record,
    RestoredStored,
    Retracted,
    RunBegan,
    RunEndNoted,
    RunResumed,
    StateNoted,
    StoredArray,
    StoredProduct,
    from_json,
    to_json,
)

R = TypeVar("R", bound=Record)

_TOGETHER = 64
"""Records that are compressed together: of records that are nearly alike, each then takes a tenth of its text."""


@dataclass(slots=True, eq=False)
class _RecordBlock:
    """Records that came one after the other, as text; compressed when it is full."""

    keys: list[VolumeKey] = field(default_factory=list)
    _texts: list[bytes] | None = field(default_factory=list)
    _packed: bytes = b""

    def add(self, key: VolumeKey, text: bytes) -> None:
        assert self._texts is not None, "a full block takes no record"
        self._texts.append(text)
        self.keys.append(key)
        if len(self.keys) == _TOGETHER:
            self._packed = zlib.compress(b"\n".join(self._texts), level=9)  # JSON has no newline of its own
            self._texts = None

    @property
    def is_full(self) -> bool:
        return self._texts is None

    def texts(self) -> list[bytes]:
        texts = self._texts  # another thread may fill the block in between
        return zlib.decompress(self._packed).split(b"\n") if texts is None else texts

    def place_of(self, key: VolumeKey) -> int:
        """Return where the last record of a volume is: one that was set anew has two."""
        return len(self.keys) - 1 - self.keys[::-1].index(key)


class Packed(MutableMapping[VolumeKey, R], Generic[R]):
    """Records by volume, kept as compressed JSON: a long run has many, and as objects each would take 3 kB."""

    def __init__(self) -> None:
        self._blocks: dict[VolumeKey, _RecordBlock] = {}
        self._last = _RecordBlock()
        self._opened: tuple[_RecordBlock, list[bytes]] = (_RecordBlock(), [])

    def __getitem__(self, key: VolumeKey) -> R:
        block = self._blocks[key]
        return cast(R, from_json(self._texts_of(block)[block.place_of(key)]))

    def __setitem__(self, key: VolumeKey, record: R) -> None:
        if self._last.is_full:
            self._last = _RecordBlock()
        self._last.add(key, to_json(record))
        self._blocks[key] = self._last

    def __delitem__(self, key: VolumeKey) -> None:
        del self._blocks[key]

    def __iter__(self) -> Iterator[VolumeKey]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, key: object) -> bool:
        return key in self._blocks

    def _texts_of(self, block: _RecordBlock) -> list[bytes]:
        """Return a block's texts; those of the last one that was read are kept, for who reads in order."""
        if not block.is_full:
            return block.texts()
        opened, texts = self._opened
        if opened is not block:
            texts = block.texts()
            self._opened = (block, texts)
        return texts


@dataclass(slots=True)
class Ledger:
    """The state of a run. Changes in `apply` only."""

    began: RunBegan | None = None
    taps: set[str] = field(default_factory=set)
    """Of all acquisitions that have written this run."""
    raw: Packed[RawStored] = field(default_factory=Packed)
    restored: Packed[RestoredStored] = field(default_factory=Packed)
    states: dict[VolumeKey, State] = field(default_factory=dict)
    """Of raw volumes."""
    incomplete: set[VolumeKey] = field(default_factory=set)
    """Raw volumes that lack planes."""
    not_restored: dict[VolumeKey, NotRestored] = field(default_factory=dict)
    models: dict[str, ModelNoted] = field(default_factory=dict)
    """By sha256; the last one of some channels restores them."""
    ended: RunEndNoted | None = None
    _products: dict[VolumeKey, tuple[StoredProduct, ...]] = field(default_factory=dict)
    """Of each restored volume."""
    _alike: dict[tuple[StoredProduct, ...], tuple[StoredProduct, ...]] = field(default_factory=dict)
    """One tuple for all volumes that have the same products."""
    _made_from: Counter[VolumeKey] = field(default_factory=Counter)
    """Raw volume: how many restored ones were made from it."""

    def apply(self, record: Record) -> None:
        match record:
            case RunBegan():
                self.began = record
                self.taps.add(record.tap)
            case RunResumed():
                self.ended = None
                self.taps.add(record.tap)
            case RawStored():
                key = one_key(record.key)
                self.raw[key] = record
                self.states[key] = record.state
                if record.integrity.missing:
                    self.incomplete.add(key)
            case RestoredStored():
                self._add_restored(record)
            case Retracted():
                self._retract(record.key)
            case StateNoted():
                self.states[record.key] = record.state
            case NotRestoredNoted():
                self.not_restored[record.key] = NotRestored(record.key, record.reason, record.detail)
            case ModelNoted():
                self.models.pop(record.sha256, None)
                self.models[record.sha256] = record
            case RunEndNoted():
                self.ended = record

    def replay(self, texts: Iterable[bytes]) -> None:
        """Apply records as the journal holds them.

        Raises
        ------
        StoreError
            A sound line has a record that this version does not know.
        """
        for text in texts:
            try:
                self.apply(from_json(text))
            except StoreError as error:
                raise StoreError(f"the journal holds a record that this version cannot read: {text[:80]!r}") from error

    def restores(self, sha256: str, channels: tuple[int, ...]) -> bool:
        """Return whether a network was the last one to be noted for these channels."""
        of_channels = [one.sha256 for one in self.models.values() if one.channels == channels]
        return of_channels[-1:] == [sha256]

    def raw_only(self) -> list[VolumeKey]:
        """Return the raw volumes of which nothing was restored, oldest first."""
        return sorted(self.raw.keys() - self._made_from)

    def raw_records(self) -> Iterator[RawStored]:
        """Give what is known of each raw volume that is safe."""
        return (self.raw[key] for key in sorted(self.raw))

    def newest_measured(self) -> dict[tuple[int, int], RestoredStored]:
        """Return the newest volume of which references showed the error, by position and channel."""
        found: dict[tuple[int, int], RestoredStored] = {}
        for key in sorted(self.restored, reverse=True):
            record = None if (key.p, key.c) in found else self.restored[key]
            if record is not None and record.trust is not None and record.trust.measured is not None:
                found[key.p, key.c] = record
        return found

    def made_from(self) -> frozenset[VolumeKey]:
        """Return the raw volumes of which something was restored."""
        return frozenset(self._made_from)

    def state(self, product: StoredProduct, key: VolumeKey) -> State:
        """Return the state of a volume; a restored one is as good as its worst source."""
        sources = (key,) if product == "raw" else self.restored[key].sources
        unknown: State = "suspect" if self._keeps_raw else "confirmed"  # a damaged line may have taken it
        states = {self.states.get(source, unknown) for source in sources}
        return next(state for state in ("suspect", "provisional", "confirmed") if state in states)

    def keys(self, product: StoredProduct) -> list[VolumeKey]:
        """Return the volumes of which a product is committed, oldest first."""
        if product == "raw":
            return sorted(self.raw)
        return sorted(key for key, products in self._products.items() if product in products)

    def arrays(self, product: StoredProduct) -> dict[VolumeKey, StoredArray]:
        """Return what is committed of one product."""
        if product == "raw":
            return {key: record.array for key, record in self.raw.items()}
        return {key: record.arrays[product] for key, record in self.restored.items() if product in record.arrays}

    def array(self, product: StoredProduct, key: VolumeKey) -> StoredArray | None:
        """Return what is committed of one volume of one product."""
        if product == "raw":
            raw = self.raw.get(key)
            return None if raw is None else raw.array
        restored = self.restored.get(key)
        return None if restored is None else restored.arrays.get(product)

    @property
    def _keeps_raw(self) -> bool:
        """Whether raw volumes are stored, too; offline a person may want them once only, where they were recorded."""
        made = {} if self.began is None else self.began.summary.get("restored_with", {})
        return bool(made.get("settings", {}).get("keep_raw", True))

    def _add_restored(self, record: RestoredStored) -> None:
        key, products = one_key(record.key), tuple(record.arrays)
        self.restored[key] = record
        self._products[key] = self._alike.setdefault(products, products)
        self._made_from.update(map(one_key, record.sources))
        for source in record.sources:
            self.not_restored.pop(source, None)

    def _retract(self, key: VolumeKey) -> None:
        record = self.restored.pop(key, None)
        if record is not None:
            del self._products[key]
            self._made_from -= Counter(record.sources)
