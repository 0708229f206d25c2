"""Even and odd rows apart: fewer products, the same sums."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.planewise.ir import Plane
from care_live.planewise.passes.row_kernels import Rows, RowTerm, gathered, stepping

PLANE = Plane(0, (1, 1, 8, 1), 0)
EVEN, ODD = Plane(1, (1, 1, 4, 1), 0), Plane(2, (1, 1, 4, 1), 0)


def columns(rows: np.ndarray, terms: list[RowTerm], planes: dict[Plane, np.ndarray]) -> np.ndarray:
    """Return what row terms compute of planes that are one pixel wide."""
    total = np.zeros(4)
    for term in terms:
        kernel = term.weight[0, 0, :, 0]
        padded = np.pad(planes[term.plane], (term.above, term.below))
        total += [kernel @ padded[start : start + len(kernel)] for start in range(0, 4 * term.step, term.step)]
    return total


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", [0, 1], ids=["even", "odd"])
def test_each_half_of_the_output_is_the_convolution_of_all_rows(size: int, side: int) -> None:
    rng = np.random.default_rng(size)
    rows, kernel = rng.standard_normal(8), rng.standard_normal((1, 1, size, 1)).astype(np.float32)
    whole = np.convolve(np.pad(rows, size // 2), kernel[0, 0, ::-1, 0], "valid")[side::2]
    planes = {PLANE: rows, EVEN: rows[0::2], ODD: rows[1::2]}
    np.testing.assert_allclose(columns(rows, [stepping(PLANE, kernel, side)], planes), whole, atol=1e-6)
    np.testing.assert_allclose(columns(rows, gathered(Rows(EVEN, ODD), kernel, side), planes), whole, atol=1e-6)


def test_rows_that_are_pairs_of_equals_leave_two_products_of_three() -> None:
    kernel = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    (even,), (odd,) = (gathered(Rows(EVEN, EVEN), kernel, side) for side in (0, 1))
    np.testing.assert_array_equal(even.weight.ravel(), [0, 1 + 2])
    np.testing.assert_array_equal(odd.weight.ravel(), [0 + 1, 2])
    assert (even.half, even.above, even.below) == ("both", 1, 0)
    assert (odd.above, odd.below) == (0, 1)
