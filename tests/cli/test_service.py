"""``care-live service``: what a person asks for reaches the system, under the name and scope that were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from care_live.cli import cli
from care_live.daemon import service_install


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Orders to the system, which are noted and not carried out."""
    orders: list[tuple[Any, ...]] = []

    def install(name: str, config: Path, *, system: bool) -> str:
        orders.append(("install", name, config, system))
        return f"installed {name}"

    def remove(name: str, *, system: bool) -> str:
        orders.append(("remove", name, system))
        return f"removed {name}"

    monkeypatch.setattr(service_install, "install_service", install)
    monkeypatch.setattr(service_install, "remove_service", remove)
    return orders


@pytest.mark.parametrize(
    ("arguments", "order", "said"),
    [
        (["install", "a.toml"], ("install", "care-live", Path("a.toml"), False), "installed care-live\n"),
        (
            ["install", "a.toml", "--unit", "scope2", "--system"],
            ("install", "scope2", Path("a.toml"), True),
            "installed scope2\n",
        ),
        (["remove"], ("remove", "care-live", False), "removed care-live\n"),
        (["remove", "--unit", "scope2", "--system"], ("remove", "scope2", True), "removed scope2\n"),
    ],
)
def test_name_and_scope_are_passed_on_and_the_answer_is_printed(
    asked: list[tuple[Any, ...]], arguments: list[str], order: tuple[Any, ...], said: str
) -> None:
    done = CliRunner().invoke(cli, ["service", *arguments])
    assert (done.exit_code, done.output, asked) == (0, said, [order])


def test_without_a_config_nothing_is_installed(asked: list[tuple[Any, ...]]) -> None:
    done = CliRunner().invoke(cli, ["service", "install"])
    assert done.exit_code == 2 and "CONFIG" in done.output and not asked
