"""Laws of the journal: what is cut off or flipped is never taken for a record."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.store.journal import Journal, decode, encode, scan

records = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=30).map(str.encode), max_size=6
)


@given(st.binary(max_size=50).filter(lambda record: b"\n" not in record))
def test_decode_undoes_encode(record):
    assert decode(encode(record)) == record


@given(records, st.data())
def test_a_journal_cut_anywhere_holds_the_records_before_the_cut(texts, data):
    lines = [encode(text) for text in texts]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    n_whole = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(len(lines)))
    assert found.records == tuple(texts[:n_whole])
    assert found.n_sound_bytes + found.torn_bytes == cut
    assert found.damaged_lines == ()


@given(records.filter(bool), st.data())
@settings(max_examples=100)
def test_a_flipped_bit_takes_its_own_line_and_no_other(texts, data):
    whole = bytearray(b"".join(encode(text) for text in texts))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(whole))
    assert len(texts) - len(found.records) in (1, 2)  # two, when the newline between them was hit
    rest = iter(texts)
    assert all(record in rest for record in found.records)  # in order, each as it was written


def test_appended_records_are_there_when_it_is_opened_again(tmp_path):
    journal = Journal(tmp_path)
    journal.append(b'{"a":1}')
    journal.append(b'{"b":2}')
    journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(encode(b'{"c":3}')[:-3])
    again = Journal(tmp_path)
    assert again.records == (b'{"a":1}', b'{"b":2}')
    assert again.torn_bytes > 0
    again.append(b'{"d":4}')
    again.close()
    assert scan((tmp_path / "journal.jsonl").read_bytes()).records == (b'{"a":1}', b'{"b":2}', b'{"d":4}')
