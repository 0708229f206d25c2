"""What each role may do, and the allow-list of one."""

from __future__ import annotations

import pytest

from care_live.wire.guest import LOCAL, ROLES, Guest, OneGuest, Role


@pytest.mark.parametrize(
    ("role", "may"),
    [("viewer", {"viewer"}), ("recorder", {"viewer", "recorder"}), ("operator", {"viewer", "recorder", "operator"})],
)
def test_a_role_may_do_what_the_lower_ones_may(role: Role, may: set[Role]) -> None:
    assert {other for other in ROLES if Guest("ada", role).may(other)} == may


def test_a_user_of_this_machine_is_an_operator() -> None:
    assert LOCAL.may("operator")


def test_a_list_of_one_knows_one_key() -> None:
    only = OneGuest("public", Guest("worker", "operator"))
    assert only.guest("public") == Guest("worker", "operator")
    assert only.guest("another") is None and only.guest("") is None
    assert not only.has_changed()
