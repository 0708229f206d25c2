"""What became of one case, and when two failures are the same."""

from __future__ import annotations

import hashlib
import re
import traceback
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fuzzing.target import WrongError

Kind: TypeAlias = Literal["refused", "accepted", "foreign", "wrong", "hang", "crash", "memory"]
_FRAME = re.compile(r'File "[^"]*?((?:care_live|site-packages|fuzzing|lib/python[\d.]+)/[^"]+)", line \d+,? in (\S+)')


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case ended."""

    kind: Kind
    """*refused* by our own one-line error and *accepted* pass; all others are failures."""
    detail: str = ""
    """Traceback of a failure."""

    @property
    def passed(self) -> bool:
        return self.kind in {"refused", "accepted"}

    @property
    def digest(self) -> str:
        """Equal for failures of the same kind with the same calls: line numbers and values do not count."""
        calls = [f"{file}:{name}" for file, name in _FRAME.findall(self.detail)]
        ours = [call for call in calls if call.startswith("care_live/")]
        kind_of_error = self.detail.strip().splitlines()[-1].partition(":")[0] if self.kind == "foreign" else ""
        return hashlib.sha256("|".join([self.kind, kind_of_error, *(ours or calls)]).encode()).hexdigest()[:8]

    @property
    def headline(self) -> str:
        """One line about what happened."""
        lines = [line for line in self.detail.strip().splitlines() if line.strip()]
        return f"{self.kind}: {lines[-1][:160] if lines else ''}"


def of_error(error: BaseException) -> Outcome:
    """Return what an exception that a reader let out means."""
    from care_live.errors import CareLiveError

    detail = "".join(traceback.format_exception(error))
    if isinstance(error, WrongError):
        return Outcome("wrong", detail)
    if isinstance(error, CareLiveError) and "\n" not in str(error):
        return Outcome("refused")
    return Outcome("foreign", detail)
