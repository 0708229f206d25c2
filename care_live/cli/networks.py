"""Commands around networks: simulate, evaluate, calibrate, domain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from care_live.cli import options

if TYPE_CHECKING:
    from care_live.training.data.data_recipe import SpecimenName
    from care_live.training.evaluation.evaluate import ScoreRow
    from care_live.training.evaluation.inference import Applied, TruthUnit

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

    from care_live.training.data.simulated import write_pairs

    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("simulating", total=n)
        folders = write_pairs(
            out, specimen, n=n, laser_power=power, shape_px=shape, voxel_size_um=voxel, seed=seed,
            tell=lambda name: bar.advance(task),
        )  # fmt: skip
    click.echo("\n".join(str(folder) for folder in folders))


@click.command("evaluate")
@click.argument("model", type=_FOLDER)
@_pairs
@_plot
@click.option(
    "--store",
    is_flag=True,
    help="Compare MODEL with total variation, too, ten seconds a volume, and store the verdict in its card.",
)
def evaluate_command(
    model: Path,
    inputs: tuple[Path, ...],
    target: Path,
    axes: str,
    pattern: str,
    truth_unit: TruthUnit,
    threads: int,
    plot: Path | None,
    store: bool,
) -> None:
    """Score MODEL: NRMSE, PSNR, SSIM and microSSIM per condition, beside raw and the best Gaussian filter.

    What is stored is what the network promises: reference planes of a run that show a larger error turn the trust light
    amber. Give volumes that MODEL has not learnt from.
    """
    from care_live.training import report
    from care_live.training.evaluation.evaluate import evaluate
    from care_live.training.evaluation.inference import apply, open_engine

    examples: dict[str, Applied] = {}
    applied = apply(open_engine(model, threads=threads), inputs, target, axes=axes, unit=truth_unit, pattern=pattern)
    rows = evaluate((examples.setdefault(result.condition, result) and result for result in applied), classical=store)
    _print_scores(rows)
    picture = plot or model.with_name(f"{model.stem}-scores.png")
    report.draw_scores(rows, list(examples.values()), picture)
    click.echo(f"{picture}: drawn")
    if store:
        _store_verdict(model, rows)


def _store_verdict(model: Path, rows: list[ScoreRow]) -> None:
    from care_live.errors import TrainingError
    from care_live.model import file
    from care_live.training.evaluation.evaluate import together
    from care_live.training.evaluation.filter_verdict import of_scores

    verdict = of_scores(together(rows))
    if verdict is None:
        raise TrainingError(f"nothing is stored in {model}: its volumes have other shapes than their truth")
    file.write_card(model, file.read_card(model).model_copy(update={"verdict": verdict}))
    click.echo(f"verdict stored in {model}: {verdict.sentence()}")


def _print_scores(rows: list[ScoreRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from care_live.wire.printable import printable

    table = Table("condition", "image", "NRMSE", "PSNR dB", "SSIM", "microSSIM")
    for row in rows:
        for name, one in (("raw", row.raw), ("best Gaussian", row.gaussian), ("restored", row.ours)):
            figures = f"{one.nrmse:.4f}", f"{one.psnr_db:.2f}", f"{one.ssim:.3f}", f"{one.micro_ssim:.3f}"
            table.add_row(Text(printable(row.condition)), name, *figures)
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

    The command tests factors on volumes that did not fix them. If they hold no better than those in the card, it stores
    nothing and ends with exit code 1.

    With at least 12 volumes of the kind that the network is made for, it measures and stores the limits of the trust
    light, too: what the evidence test shows of good restorations, and what such volumes look like.
    """
    from care_live.errors import TrainingError
    from care_live.model import file
    from care_live.training import report
    from care_live.training.evaluation.calibrate import calibrate, with_limits
    from care_live.training.evaluation.inference import apply, open_engine

    engine = open_engine(model, threads=threads)
    applied = list(apply(engine, inputs, target, axes=axes, unit=truth_unit, pattern=pattern))
    result = calibrate(applied, engine.card.calibration)
    picture = plot or model.with_name(f"{model.stem}-reliability.png")
    report.draw_reliability(result, picture)
    for line in report.reliability_lines(result):
        click.echo(line)
    click.echo(f"{picture}: drawn")
    card = with_limits(engine.card, engine, (one.read for one in applied))
    stored = [] if card == engine.card else [f"limits of the trust light, from {card.evidence.n_volumes} volumes"]
    if result.is_better:
        card, stored = card.model_copy(update={"calibration": result.calibration}), ["calibration", *stored]
    if stored and not dry_run:
        file.write_card(model, card)
        click.echo(f"{' and '.join(stored)} stored in {model}")
    if not result.is_better and not dry_run:
        nothing = "no calibration" if stored else "nothing"
        raise TrainingError(f"{nothing} is stored in {model}: {report.why_not_better(result)}")


@click.command("domain")
@click.argument("model", type=_FOLDER)
@click.option("--input", "inputs", type=_FOLDER, multiple=True, help="Dim images; repeat it for each condition.")
@click.option("--recipe", type=_FOLDER, help="Instead of images: the config that MODEL was trained with.")
@click.option("--axes", default="ZYX", show_default=True, help="Axes of each file, in the order TCZYX.")
@click.option("--pattern", default="*.tif*", show_default=True, help="Names of the files to take.")
@options.threads
def domain_command(
    model: Path,
    inputs: tuple[Path, ...],
    recipe: Path | None,
    axes: str,
    pattern: str,
    threads: int,
) -> None:
    """Measure what images of the kind that MODEL is made for look like, and store it in its card.

    The trust light then says when a run shows other structures. The images need no truth; the command needs at least 12
    parts of images. A new network has this from its training.
    """
    from care_live.errors import ConfigError
    from care_live.model import file
    from care_live.training import recipe as recipes
    from care_live.training.data import training_domain
    from care_live.training.data.loading import gather
    from care_live.training.evaluation.calibrate import with_features
    from care_live.training.evaluation.inference import open_engine

    if bool(inputs) == (recipe is not None):
        raise ConfigError("give images with --input, or the config of MODEL's training with --recipe, not both")
    engine = open_engine(model, threads=threads)
    taken = (
        training_domain.of_inputs(gather(recipes.load(recipe)), recipe.name)
        if recipe is not None
        else training_domain.of_folders(
            inputs, pattern, axes=axes, n_channels=len(engine.card.channels_in), n_past=engine.card.past
        )
    )
    card = with_features(engine.card, engine, taken.parts, origin=taken.origin)
    features = card.training.features
    if features is None or card == engine.card:
        raise ConfigError(f"{taken.origin}: these are too few, at least 12 are needed; nothing is stored in {model}")
    file.write_card(model, card)
    click.echo(f"structures of {features.n_volumes} parts of images stored in {model}: limit {features.limit:.2f}")
