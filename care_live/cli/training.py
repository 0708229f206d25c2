"""Commands of a training run: train a network, export it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import click

from care_live.cli import options
from care_live.cli.typed import typed

if TYPE_CHECKING:
    from care_live.training.preview import Progress
    from care_live.training.recipe import Recipe
    from care_live.training.train import Trained
    from care_live.training.training_plan import TrainingPlan

_NO_VERDICT = (
    "no verdict: the noise of the images could not be measured, the error that is left is smaller than the noise is "
    "uncertain by, or raw and target differ in shape. Look at the report before you use the network"
)


class _Images(click.Path):
    """A folder, a file, or a scene in a file, that exists."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from care_live.recorded import scene_in

        path = Path(str(super().convert(value, param, ctx)))
        if not scene_in(path)[0].exists():
            self.fail(f"{path} does not exist", param, ctx)
        return path


_IMAGES = _Images(path_type=Path)


class _Options(TypedDict):
    inputs: tuple[Path, ...]
    target: tuple[Path, ...]
    second: Path | None
    look_ahead: int | None
    axes: str | None
    pattern: str
    name: str


class OwnImages(_Options):
    """The options that stand in for a CONFIG."""

    noisy_only: bool
    past: int


@click.command("train")
@click.argument("config", type=options.FILE, required=False)
@click.option("--input", "inputs", type=_IMAGES, multiple=True, help="Dim images; repeat it for each condition.")
@click.option("--target", type=_IMAGES, multiple=True, help="The truth: bright images in files of the same names.")
@click.option("--second", type=_IMAGES, help="Second exposures of the dim images, where there are no bright ones.")
@click.option("--noisy-only", is_flag=True, help="Learn from the dim images alone, without --target or --second.")
@click.option(
    "--from",
    "start",
    type=options.FILE,
    help="Network to begin with: forms, which is shipped; an ONNX file; or a training run's folder.",
)
@click.option("--gains-only", is_flag=True, help="Learn gains and biases only; with --from.")
@click.option(
    "--look-ahead",
    type=click.IntRange(0),
    help="Planes that the network may wait for after the restored one; default: 10, the reach of all its kernels.",
)
@click.option(
    "--past",
    type=click.IntRange(0, 8),
    default=0,
    help="Earlier time points of a time-lapse that the network reads with each one; default: none.",
)
@options.minutes
@click.option("--axes", help="Axes of each file, in the order TCZYX; default: as the files say.")
@click.option("--pattern", default="*.tif*", show_default=True, help="Names of the files to take.")
@click.option("--name", default="own", show_default=True, help="Name of the network, where no CONFIG gives it.")
@click.option(
    "--run",
    "run_folder",
    type=options.FILE,
    help="Folder of the training run, which goes on if it exists; default: runs/train/NAME.",
)
@click.option("--updates", type=click.IntRange(1), help="Number of updates, instead of minutes or fit.n_updates.")
@click.option("--members", type=click.IntRange(1, 16), help="Number of networks, instead of the config's members.")
def train_command(
    config: Path | None,
    minutes: float | None,
    run_folder: Path | None,
    updates: int | None,
    members: int | None,
    start: Path | None,
    gains_only: bool,
    **asked: Unpack[OwnImages],
) -> None:
    """Train a network, or an ensemble, on your own images, or as CONFIG says.

    \b
    care-live train --input low/ --target high/ --minutes 15
    care-live train --input first/ --second second/ --minutes 15
    care-live train --input noisy/ --noisy-only --minutes 15

    With one --target each --input is a condition of the same volumes. With a --target for each --input, in the same
    order, they are folders of other volumes.

    First the command says what it will do and how long that takes; last, whether the network is better than a filter.
    """
    from care_live.training import recipe
    from care_live.training.training_plan import begun_with

    chosen = _recipe_of_images(minutes, **asked) if config is None else _recipe_of_file(config, asked)
    if gains_only and start is None:
        raise click.UsageError("--gains-only needs --from, a network whose kernels stay")
    if start is not None:
        chosen = begun_with(chosen, start, gains_only=gains_only)
    chosen = recipe.with_changes(chosen, minutes=minutes, n_updates=updates, members=members)
    folder = run_folder or Path("runs/train") / chosen.name
    trained = _train(chosen, folder)
    if not trained.is_first:
        return
    if config is None:
        network = folder / f"{chosen.name}.onnx"
        _export(folder, network, names_network=False)  # the plan has named it
        if trained.verdict is None or not trained.verdict.is_doubtful:
            restoring = typed("care-live", "restore", "STACK.tif", "OUT.tif", "--model", network)
            click.echo(f"next: {restoring}, or {typed('care-live', 'swap', network)}")
    else:
        click.echo(f"next: {typed('care-live', 'export', folder, f'{chosen.name}.onnx')}")


def _recipe_of_file(config: Path, asked: OwnImages) -> Recipe:
    from care_live.training import recipe

    named = asked["inputs"] or asked["target"] or asked["second"] or asked["noisy_only"]
    if named or asked["past"] or asked["look_ahead"] is not None:
        raise click.UsageError(
            "CONFIG names its images and network: leave out --input, --target, --second, --noisy-only, --past and "
            "--look-ahead, or CONFIG"
        )
    return recipe.load(config)


def _recipe_of_images(minutes: float | None, *, noisy_only: bool, past: int, **asked: Unpack[_Options]) -> Recipe:
    from care_live.training.data.volumes import names_axes
    from care_live.training.training_plan import own_recipe, reading_past

    if not asked["inputs"] or [bool(asked["target"]), asked["second"] is not None, noisy_only].count(True) != 1:
        raise click.UsageError(
            "give --input and --target, folders of dim and bright images; --input and --second, two exposures; "
            "--input and --noisy-only; or a CONFIG"
        )
    if asked["axes"] is None and not names_axes(asked["inputs"][0], asked["pattern"]):
        click.echo("the files name no axes: read as z, y, x. For movies of single planes add --axes TYX", err=True)
    own = own_recipe(minutes=minutes or 15.0, **asked)
    return reading_past(own, past) if past else own


def _train(recipe: Recipe, folder: Path) -> Trained:
    from care_live.training.train import train

    with TrainingBar(recipe.members) as bar:
        trained = train(recipe, folder, on_plan=bar.plan, on_progress=bar.show, tell=bar.tell)
    if not trained.is_first:
        return trained
    click.echo(f"{folder / 'report.png'}: curves, scores and restored examples")
    click.echo(f"verdict: {trained.verdict.sentence()}" if trained.verdict else _NO_VERDICT)
    if trained.verdict and trained.verdict.is_estimate:
        click.echo(
            "no interval for each voxel: its error is far smaller than the noise of what it is compared with; over "
            f"whole images the error is at most {trained.verdict.error_share:.1%} of the range of the noisy ones (rms)"
        )
    return trained


class TrainingBar:
    """A progress bar with loss and time left; a line a validation where there is no terminal."""

    def __init__(self, members: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._watched = sys.stderr.isatty()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), disable=not self._watched)
        self._members, self._validation = members, ""
        self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, name: str) -> None:
        self._bar.update(self._task, description=f"reading {name}")

    def plan(self, plan: TrainingPlan) -> None:
        self._bar.update(self._task, total=self._members * plan.recipe.fit.n_updates)
        click.echo(plan.describe(), err=True)

    def show(self, progress: Progress) -> None:
        which = f"network {progress.member + 1} of {self._members}, " if self._members > 1 else ""
        line = f"{which}loss {progress.loss:.4f}"
        if progress.validation_loss is not None:
            self._validation = f", on validation images {progress.validation_loss:.4f}"
        done = progress.member * progress.n_updates + progress.update
        self._bar.update(self._task, completed=done, description=line + self._validation)
        if not self._watched and progress.validation_loss is not None:
            left = f"{progress.left_s:.0f} s left" if progress.left_s < 100 else f"{progress.left_s / 60:.0f} min left"
            click.echo(f"update {progress.update} of {progress.n_updates}: {line}{self._validation}, {left}", err=True)


@click.command("export")
@click.argument("run_folder", metavar="RUN", type=options.FILE)
@click.argument("out", type=options.FILE)
@click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which weights to take.",
)
@click.option("--bioimageio", type=options.FILE, help="Write a bioimage.io package to this .zip, too.")
def export_command(run_folder: Path, out: Path, checkpoint: str, bioimageio: Path | None) -> None:
    """Turn the training run RUN into the ONNX file OUT, its members merged, its model card inside."""
    _export(run_folder, out, checkpoint=checkpoint)
    if bioimageio is not None:
        from care_live.training.bioimageio_package import write_package

        write_package(out, bioimageio)
        click.echo(f"{bioimageio}: bioimage.io package")


def _export(run_folder: Path, out: Path, *, checkpoint: str = "best", names_network: bool = True) -> None:
    from care_live.training.export import export

    card = export(run_folder, out, checkpoint=f"{checkpoint}.pt", commit=commit_of_code())
    several = f"; {card.members} networks in one" if card.members > 1 else ""
    network = card.network if names_network else "the network"
    click.echo(f"{out}: {network}{several}, halo {card.halo_px} px, checked against torch")


def commit_of_code() -> str:
    """Return the commit that the code comes from, or nothing outside of a checkout."""
    import subprocess

    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
