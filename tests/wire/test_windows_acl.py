"""Who may read a key file on Windows, from what icacls and whoami print there; neither runs here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.wire import windows_acl

OWN = "S-1-5-21-11-22-33-1001"
OTHER = "S-1-5-21-11-22-33-1002"
OWN_ONLY = f"D:PAI(A;;FA;;;{OWN})"


class Windows:
    """icacls and whoami of a machine with one key file."""

    def __init__(self, sddl: str) -> None:
        self.sddl = sddl
        self.asked: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> str:
        self.asked.append(command)
        if command[0] == "whoami":
            return f'"pc\\me","{OWN}"\r\n'
        if "/save" in command:
            Path(command[-1]).write_text(f"key\n{self.sddl}\n", encoding="utf-16")
        return ""


@pytest.mark.parametrize(
    "sddl",
    [
        OWN_ONLY,
        f"D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;FA;;;{OWN})",
        f"D:(D;;FA;;;WD)(A;;0x1f01ff;;;{OWN})",
        f"D:(A;;0x100000;;;WD)(A;;FA;;;{OWN})S:(AU;SAFA;FA;;;WD)",
    ],
    ids=["own", "inherited-from-home", "denied-to-everyone", "others-may-only-wait"],
)
def test_a_key_that_its_owner_alone_reads_is_taken(sddl: str) -> None:
    windows_acl.refuse_readable_by_others(Path("key"), run=Windows(sddl))


@pytest.mark.parametrize(
    ("sddl", "who"),
    [
        (f"D:AI(A;ID;0x1200a9;;;BU)(A;ID;FA;;;{OWN})", "BU"),
        (f"{OWN_ONLY}(A;;FR;;;WD)", "WD"),
        (f"{OWN_ONLY}(A;;0x1f01ff;;;{OTHER})", OTHER),
        ("O:BAG:BA", "WD"),
        ("D:NO_ACCESS_CONTROL", "WD"),
    ],
    ids=["users", "everyone", "a-colleague", "no-list", "no-control"],
)
def test_a_key_that_others_can_read_is_refused(sddl: str, who: str) -> None:
    with pytest.raises(ConfigError, match=rf'can be read by other accounts \({who}\): icacls "key" /inheritance:r'):
        windows_acl.refuse_readable_by_others(Path("key"), run=Windows(sddl))


def test_a_new_key_is_restricted_to_the_account_that_makes_it() -> None:
    machine = Windows("")
    windows_acl.restrict(Path("key"), run=machine)
    assert machine.asked[-1] == ["icacls", "key", "/inheritance:r", "/grant:r", f"*{OWN}:F"]


@pytest.mark.parametrize("answer", ["", "key only\n"])
def test_a_list_that_cannot_be_read_is_refused(answer: str) -> None:
    def silent(command: Sequence[str]) -> str:
        if "/save" in command:
            Path(command[-1]).write_text(answer, encoding="utf-16")
        return f"{OWN}"

    with pytest.raises(ConfigError, match="says nothing of key"):
        windows_acl.refuse_readable_by_others(Path("key"), run=silent)
