"""One thread for numpy's products of matrices, in the processes that care_live starts or is: inference, and commands.

The products of the trust light are small. Of several threads of OpenBLAS all but one wait for the next product, and
their waiting takes the processors from the network. And with several, OpenBLAS asks for memory at each product, and
ends the process where it gets none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "OPENBLAS_NUM_THREADS"


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let a process that starts, or numpy where it is imported first, use one thread, unless a person has set how many.

    A process that has numpy already keeps the threads that it has. Processes that it starts meanwhile inherit this;
    afterwards the environment is as before.
    """
    before = os.environ.get(_VARIABLE)
    os.environ.setdefault(_VARIABLE, "1")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)  # another start may have taken it back
