"""Commands that make networks: simulate, train, evaluate, calibrate, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from care_live.cli import options

if TYPE_CHECKING:
    from care_live.training.data_recipe import SpecimenName
    from care_live.training.evaluate import ScoreRow
    from care_live.training.fit import Progress
    from care_live.training.inference import Applied, TruthUnit
    from care_live.training.time_budget import TrainingPlan

_FOLDER = click.Path(path_type=Path, exists=True)
_SPECIMENS = ("worm", "beads", "tubules", "granules", "nuclei", "forms", "confocal_forms")
_PAIRS = (
    click.option("--input", "inputs", type=_FOLDER, multiple=True, required=True,
                 help="Dim images; repeat it for each condition."),
    click.option("--target", type=_FOLDER, required=True, help="The truth: bright images in files of the same names."),
    click.option("--axes", default="ZYX", show_default=True, help="Axes of each file, in the order TCZYX."),
    click.option("--pattern", default="*.tif*", show_default=True, help="Names of the files to take."),
    click.option("--truth-unit", type=click.Choice(["percentiles", "counts"]), default="percentiles", show_default=True,
                 help="Unit of the truth; counts: those of the input (simulated at the same dose)."),
    options.threads,
)  # fmt: skip
_plot = click.option("--plot", type=options.FILE, help="Draw the result to this PNG; default: beside MODEL.")


def _pairs(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_PAIRS):
        command = option(command)
    return command


@click.command("simulate")
@click.argument("out", type=options.FILE)
@click.option("--specimen", type=click.Choice(_SPECIMENS), default="worm", show_default=True, help="What is imaged.")
@click.option("--n", type=click.IntRange(1), default=4, show_default=True, help="Number of volumes.")
@click.option(
    "--power",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="Laser power, 1 is low light; repeat it for each condition.",
)
@click.option(
    "--shape", type=click.IntRange(1), nargs=3, default=(32, 256, 256), show_default=True, help="Shape z y x in pixels."
)
@click.option(
    "--voxel",
    type=click.FloatRange(0, min_open=True),
    nargs=3,
    default=(1.0, 0.5, 0.5),
    show_default=True,
    help="Voxel size z y x in micrometres.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the random numbers.")
def simulate_command(
    out: Path,
    specimen: SpecimenName,
    n: int,
    power: tuple[float, ...],
    shape: tuple[int, int, int],
    voxel: tuple[float, float, float],
    seed: int,
) -> None:
    """Write simulated recordings to OUT: one folder for each laser power, and one for the truth."""
    from rich.progress import Progress

    from care_live.training.simulated import write_pairs

    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("simulating", total=n)
        folders = write_pairs(
            out, specimen, n=n, laser_power=power, shape_px=shape, voxel_size_um=voxel, seed=seed,
            tell=lambda name: bar.advance(task),
        )  # fmt: skip
    click.echo("\n".join(str(folder) for folder in folders))


@click.command("train")
@click.argument("config", type=options.FILE, required=False)
@click.option("--input", "inputs", type=_FOLDER, multiple=True, help="Dim images; repeat it for each condition.")
@click.option("--target", type=_FOLDER, help="The truth: bright images in files of the same names.")
@click.option("--second", type=_FOLDER, help="Second exposures of the dim images, where there are no bright ones.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Budget on this machine; default: 15.")
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
    inputs: tuple[Path, ...],
    target: Path | None,
    second: Path | None,
    minutes: float | None,
    axes: str | None,
    pattern: str,
    name: str,
    run_folder: Path | None,
    updates: int | None,
    members: int | None,
) -> None:
    """Train a network, or an ensemble, on your own images, or as CONFIG says.

    \b
    care-live train --input low/ --target high/ --minutes 15
    care-live train --input first/ --second second/ --minutes 15

    It says first what it will do and how long that takes, and last whether the network is better than a filter.
    """
    from care_live.training import recipe
    from care_live.training.own_recipe import own_recipe
    from care_live.training.train import train

    if config is None:
        if not inputs or (target is None) == (second is None):
            raise click.UsageError(
                "give --input and --target, folders of dim and bright images; or --input and --second, two exposures; "
                "or a CONFIG"
            )
        images = {"target": target, "second": second}
        chosen = own_recipe(inputs, **images, minutes=minutes or 15.0, axes=axes, pattern=pattern, name=name)
    else:
        if inputs or target or second:
            raise click.UsageError("CONFIG names its images: leave out --input, --target and --second, or CONFIG")
        chosen = recipe.load(config)
    chosen = recipe.with_changes(chosen, minutes=minutes, n_updates=updates, members=members)
    folder = run_folder or Path("runs/train") / chosen.name
    with _TrainingBar(chosen.members) as bar:
        trained = train(chosen, folder, on_plan=bar.plan, on_progress=bar.show, tell=bar.tell)
    best = min(min(history.validation) for history in trained.histories)
    click.echo(f"{folder / 'report.png'}: drawn; best validation loss {best:.4f}")
    if trained.verdict is not None:
        click.echo(f"verdict: {trained.verdict.sentence()}")
    if config is None:
        _export(folder, folder / f"{chosen.name}.onnx")
    else:
        click.echo(f"next: care-live export {folder} {chosen.name}.onnx")


class _TrainingBar:
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

    def __enter__(self) -> _TrainingBar:
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
        line = f"member {progress.member} loss {progress.loss:.4f}"
        if progress.validation_loss is not None:
            self._validation = f" validation {progress.validation_loss:.4f}"
        done = progress.member * progress.n_updates + progress.update
        self._bar.update(self._task, completed=done, description=line + self._validation)
        if not self._watched and progress.validation_loss is not None:
            left = f"{progress.left_s:.0f} s left" if progress.left_s < 100 else f"{progress.left_s / 60:.0f} min left"
            click.echo(f"update {progress.update} {line}{self._validation}, {left}", err=True)


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


def _export(run_folder: Path, out: Path, *, checkpoint: str = "best") -> None:
    from care_live.training.export import export

    card = export(run_folder, out, checkpoint=f"{checkpoint}.pt", commit=_commit())
    click.echo(f"{out}: {card.network}; {card.members} member(s), halo {card.halo_px} px, checked against torch")


@click.command("evaluate")
@click.argument("model", type=_FOLDER)
@_pairs
@_plot
def evaluate_command(
    model: Path,
    inputs: tuple[Path, ...],
    target: Path,
    axes: str,
    pattern: str,
    truth_unit: TruthUnit,
    threads: int,
    plot: Path | None,
) -> None:
    """Score MODEL: NRMSE, PSNR and SSIM per condition, beside raw and the best Gaussian filter."""
    from care_live.training import report
    from care_live.training.evaluate import evaluate
    from care_live.training.inference import apply, open_engine

    examples: dict[str, Applied] = {}
    applied = apply(open_engine(model, threads=threads), inputs, target, axes=axes, unit=truth_unit, pattern=pattern)
    rows = evaluate(examples.setdefault(result.condition, result) and result for result in applied)
    _print_scores(rows)
    picture = plot or model.with_name(f"{model.stem}-scores.png")
    report.draw_scores(rows, list(examples.values()), picture)
    click.echo(f"{picture}: drawn")


def _print_scores(rows: list[ScoreRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from care_live.wire.printable import printable

    table = Table("condition", "image", "NRMSE", "PSNR dB", "SSIM")
    for row in rows:
        for name, one in (("raw", row.raw), ("best Gaussian", row.gaussian), ("restored", row.ours)):
            table.add_row(
                Text(printable(row.condition)), name, f"{one.nrmse:.4f}", f"{one.psnr_db:.2f}", f"{one.ssim:.3f}"
            )
    Console().print(table)


@click.command("calibrate")
@click.argument("model", type=_FOLDER)
@_pairs
@_plot
@click.option("--dry-run", is_flag=True, help="Measure only; do not change MODEL.")
def calibrate_command(
    model: Path,
    inputs: tuple[Path, ...],
    target: Path,
    axes: str,
    pattern: str,
    truth_unit: TruthUnit,
    threads: int,
    plot: Path | None,
    dry_run: bool,
) -> None:
    """Measure the coverage of MODEL's intervals and store better factors in its card.

    Each volume is judged with factors that the other volumes fixed. Where these hold no better than the card's own,
    nothing is stored and the exit code is 1.
    """
    from care_live.errors import TrainingError
    from care_live.model import file
    from care_live.training import report
    from care_live.training.calibrate import calibrate
    from care_live.training.inference import apply, open_engine

    engine = open_engine(model, threads=threads)
    applied = list(apply(engine, inputs, target, axes=axes, unit=truth_unit, pattern=pattern))
    result = calibrate(applied, engine.card.calibration)
    picture = plot or model.with_name(f"{model.stem}-reliability.png")
    report.draw_reliability(result, picture)
    for line in report.reliability_lines(result):
        click.echo(line)
    click.echo(f"{picture}: drawn")
    if not result.is_better:
        if not dry_run:
            raise TrainingError(f"nothing is stored in {model}: {report.why_not_better(result)}")
    elif not dry_run:
        file.write_card(model, engine.card.model_copy(update={"calibration": result.calibration}))
        click.echo(f"calibration stored in {model}")


def _commit() -> str:
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
