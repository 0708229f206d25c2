"""``care-live prepare``: a network for today's specimen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from care_live.cli import logs, options
from care_live.cli.training import TrainingBar, commit_of_code
from care_live.cli.typed import typed
from care_live.default_ports import STATUS
from care_live.errors import CareLiveError, ConfigError

if TYPE_CHECKING:
    from care_live.config import Config
    from care_live.prepare.exposure_plan import ExposurePlan
    from care_live.prepare.prepared_network import Preparation

ANSWER_S = 5.0


@click.command("prepare")
@click.argument("config", type=options.FILE)
@options.minutes
@options.channel
@click.option(
    "--folder",
    type=options.FILE,
    help="Folder of the preparation, which goes on if it exists; default: prepare-TIME in the store's directory.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would expose, and end.")
@click.option(
    "--swap",
    "swaps",
    is_flag=True,
    help="Give the network to the running daemon, if it is better, and wait until it has taken over.",
)
@logs.verbosity
@logs.quiet
def prepare_command(
    config: Path,
    minutes: float | None,
    channel: str,
    folder: Path | None,
    only_plan: bool,
    swaps: bool,
    verbose: int,
    quiet: bool,
) -> None:
    """Make a network for today's specimen, at the microscope of CONFIG (TOML).

    The command exposes some volumes twice, dim and bright, trains a network on them, calibrates it, and compares it
    with the network of CONFIG on volumes that the new one was not trained on. First it says how much light that costs.
    Settings such as the minutes can stand in the section [prepare] of CONFIG; each has a default.

    After the exposures it runs at low priority, so that you can acquire meanwhile. Ctrl-C ends it; with --folder it
    continues. Exit code 1: the new network is not better, and is not offered; or, with --swap, the daemon refused it.
    """
    from care_live.config import load
    from care_live.prepare.prepared_network import plan_of

    whole = load(config)
    chosen = _with_minutes(_of_channel(whole, channel), minutes)
    plan = plan_of(chosen)
    click.echo(plan.describe())
    click.echo(f"Then it trains for {chosen.prepare.minutes:g} minutes at low priority, and compares.")
    if only_plan:
        return
    logs.configure(0 if quiet else verbose)
    folder = folder or _new_folder(chosen)
    _refuse_busy_microscope(chosen, plan, folder)
    asked = (["--channel", channel] if channel else []) + ([] if minutes is None else ["--minutes", f"{minutes:g}"])
    again = typed("care-live", "prepare", config, "--folder", folder, *asked)
    preparation = _prepared(chosen, folder, again=again)
    _offer(whole, preparation, channel=channel, swaps=swaps)


def _of_channel(config: Config, channel: str) -> Config:
    """Return a config with one network: that of a channel, where the config has several."""
    from care_live.daemon.channel_networks import number_of

    number = number_of(config.restore.networks, channel)
    if not config.restore.channel:
        return config
    return config.model_copy(update={"restore": config.restore.only(number)})


def _with_minutes(config: Config, minutes: float | None) -> Config:
    if minutes is None:
        return config
    return config.model_copy(update={"prepare": config.prepare.model_copy(update={"minutes": minutes})})


def _new_folder(config: Config) -> Path:
    from care_live.cli.live import new_run_id

    return config.store.directory / new_run_id("prepare")


def _refuse_busy_microscope(config: Config, plan: ExposurePlan, folder: Path) -> None:
    """Refuse to expose where a daemon may drive the same microscope; a virtual one is there once for each process."""
    from care_live.prepare.exposed_pairs import PairFolder
    from care_live.prepare.pair_acquisition import n_whole_time_points

    n_left = plan.acquisition.time_points - n_whole_time_points(plan, PairFolder(folder / "exposed"))
    if n_left and plan.microscope.kind != "virtual" and _daemon_answers(config.daemon.status_bind):
        raise ConfigError(
            f"a daemon runs at {config.daemon.status_bind} and has the microscope: prepare before its run, or "
            "after it; what was exposed already is trained on beside a run with --folder"
        )


def _daemon_answers(address: str) -> bool:
    """Tell whether a daemon is there; one that listens and is too busy to answer in time is."""
    import http.client
    import urllib.error

    from care_live.daemon.status_request import open_status

    try:
        with open_status(f"http://{address}/livez", ANSWER_S):
            return True
    except (urllib.error.HTTPError, TimeoutError):  # it is not well, or busy
        return True
    except (OSError, http.client.HTTPException):  # nothing listens, or another program
        return False


def _prepared(config: Config, folder: Path, *, again: str) -> Preparation:
    from care_live.prepare.low_priority import give_way
    from care_live.prepare.prepared_network import PreparationWatch, prepare

    with PreparationBar() as bar:
        watch = PreparationWatch(
            tell=bar.say, on_pair=bar.pairs, on_plan=bar.plan, on_progress=bar.show, before_training=give_way
        )
        try:
            return prepare(config, folder, watch, commit=commit_of_code())
        except KeyboardInterrupt:
            click.echo(f"interrupted; what is done is kept. Go on with: {again}", err=True)
            raise


class PreparationBar(TrainingBar):
    """The bar of a training, which shows the exposures before it."""

    def __init__(self) -> None:
        super().__init__(1)
        self._n_pairs = -1

    def say(self, sentence: str) -> None:
        click.echo(sentence)

    def pairs(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total, description="exposing pairs")
        if not self._watched and done != self._n_pairs:
            click.echo(f"{done} of {total} pairs are there", err=True)
        self._n_pairs = done


def _offer(config: Config, preparation: Preparation, *, channel: str, swaps: bool) -> None:
    """Say the verdict; give the network to the daemon and wait for the outcome, or print how."""
    network, address = preparation.network.resolve(), config.daemon.status_bind
    click.echo(f"verdict: {preparation.gate.sentence()}")
    if not preparation.gate.is_better:
        raise CareLiveError(
            f"{network} is kept, but it is not better than {preparation.gate.before}: nothing is swapped"
        )
    setting = "model, in its [[restore.channel]]," if config.restore.channel else "restore.model"
    click.echo(f'the next run takes it with {setting} = "{network.as_posix()}"')
    if not preparation.can_swap:
        click.echo(
            "a run that goes on can't take it, as its results are of another kind (no uncertainty from dim pairs)"
        )
        return
    if not swaps:
        where = (["--channel", channel] if channel else []) + ([] if address == STATUS else ["--address", address])
        click.echo(f"a run that goes on takes it with: {typed('care-live', 'swap', network, *where)}")
        return
    from care_live.cli.health import WAIT_S, ask, outcome_of_swap

    click.echo(ask(address, "/swap", {"model": str(network), "channel": channel}))
    click.echo(outcome_of_swap(address, WAIT_S))
