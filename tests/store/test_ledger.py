"""What is real in a run, held in little memory: a run may have tens of thousands of volumes."""

from __future__ import annotations

import gc
import json
import tracemalloc

import msgspec

from care_live.acquisition_plan import VolumeKey, one_key
from care_live.reasons import Choice
from care_live.recorded.run_records import (
    ModelNoted,
    RawStored,
    RestoredStored,
    Retracted,
    StoredArray,
    from_json,
    to_json,
)
from care_live.store.ledger import Ledger
from tests.make.stored import make_restored, make_volume


def records(t: int) -> tuple[RawStored, RestoredStored]:
    volume = make_volume(VolumeKey(t))
    array = StoredArray(crc32c=t, shape=volume.pixels.shape, dtype="uint16", file_bytes=10 * t)
    arrays = {"restored": array, "laplace_scale": array}
    restored = RestoredStored.of(make_restored(volume), arrays, mantissa_bits=10)
    return RawStored.of(volume, array), restored


def test_records_come_back_as_they_went_in() -> None:
    ledger = Ledger()
    raw, restored = records(3)
    for record in (raw, restored):
        ledger.apply(record)
    assert (ledger.raw[raw.key], ledger.restored[restored.key]) == (raw, restored)
    assert ledger.keys("raw") == ledger.keys("restored") == ledger.keys("laplace_scale") == [raw.key]
    assert ledger.keys("disagreement") == []
    ledger.apply(Retracted(key=restored.key))
    assert ledger.keys("restored") == []
    assert ledger.raw_only() == [raw.key]


def test_a_network_that_is_back_is_the_last_one_of_its_channels() -> None:
    ledger = Ledger()
    for sha256, channels in (("a", (0,)), ("b", (0,)), ("c", (1,)), ("a", (0,))):
        ledger.apply(ModelNoted(name=sha256, sha256=sha256, card={}, channels=channels))
    assert list(ledger.models) == ["b", "c", "a"]
    assert ledger.restores("a", (0,)) and ledger.restores("c", (1,))
    assert not ledger.restores("b", (0,))
    assert not ledger.restores("a", ())


def test_records_come_back_from_full_blocks_too() -> None:
    ledger = Ledger()
    written = {record.key: record for t in range(150) for record in records(t)[:1]}
    for record in written.values():
        ledger.apply(record)
    assert dict(ledger.raw) == written
    backwards = list(reversed(written))
    assert [ledger.raw[key].array.crc32c for key in backwards] == [key.t for key in backwards]


def test_a_record_that_is_set_anew_replaces_the_one_before() -> None:
    ledger = Ledger()
    for t in range(100):
        ledger.apply(records(t)[1])
    for t in (99, 3, 3):  # in the same block, and long ago
        anew = msgspec.structs.replace(records(t)[1], low=-float(t))
        ledger.apply(Retracted(key=anew.key))
        assert anew.key not in ledger.restored
        ledger.apply(anew)
        assert ledger.restored[anew.key] == anew
    assert len(ledger.restored) == 100
    assert ledger.restored[VolumeKey(98)] == records(98)[1]


def test_a_volume_takes_half_a_kilobyte() -> None:
    ledger, n = Ledger(), 1500
    for record in records(n):
        ledger.apply(record)  # what the first one imports is not of the ledger
    gc.collect()
    tracemalloc.start()
    try:
        for t in range(n):
            for record in records(t):
                ledger.apply(record)
        one_key.cache_clear()  # it takes memory once, not with every volume
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / n < 650  # as objects they would take 6 kB


def test_why_a_volume_was_streamed_is_in_the_journal_and_older_lines_open() -> None:
    _, plain = records(3)
    choice = Choice("whole", "a-reason-of-tomorrow", {"need_mib": 9.5}, "words")
    noted = msgspec.structs.replace(plain, choice=choice)
    assert from_json(to_json(noted)) == noted
    older = json.loads(to_json(plain))
    assert older.pop("choice") is None
    assert from_json(json.dumps(older).encode()) == plain
