"""What libraries raise when memory runs out is known for what it is: tiles shrink, and no volume fails."""

from __future__ import annotations

import pytest

from care_live.backends.failures import translated
from care_live.errors import OutOfMemoryError, RestoreError


@pytest.mark.parametrize(
    "text",
    [
        "Failed to allocate memory for requested buffer of size 1073741824",
        "Exception from src/inference: Check 'ptr' failed: Failed to allocate 122304032 bytes of memory",
        "std::bad_alloc",
        "[Errno 12] Cannot allocate memory",
    ],
    ids=["onnxruntime", "openvino", "c++", "system"],
)
def test_memory_that_ran_out_is_recognised(text: str) -> None:
    with pytest.raises(OutOfMemoryError), translated("inference"):
        raise RuntimeError(text)


def test_another_failure_is_none_of_memory() -> None:
    with pytest.raises(RestoreError, match="the shape is wrong") as raised, translated("inference"):
        raise RuntimeError("the shape\nis wrong")
    assert not isinstance(raised.value, OutOfMemoryError)
