"""``care-live import``: networks from elsewhere become one ONNX file with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from care_live.cli.typed import typed
from care_live.errors import ConfigError, ModelError
from care_live.wire.printable import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from care_live.model.bioimageio import Description
    from care_live.model.card import ModelCard

_LARGEST_DEVIATION = 1e-3
"""As a fraction of the range: a larger difference from the model's test image means another network."""

IMPORT_S, IMPORT_MIB = 600.0, 8192
"""A network that needs more time or memory for one small field cannot restore while a microscope records."""


@click.group("import")
def import_command() -> None:
    """Import a network that was made elsewhere; torch and TensorFlow are not needed."""


@import_command.command("csbdeep", short_help="Import a CSBDeep model: config.json and .h5 weights.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--task",
    type=click.Choice(["denoise", "isotropic", "upsample", "project"]),
    help="What the network was made for; default: what the folder says.",
)
@click.option("--factor", type=float, default=1.0, help="Restored planes per raw plane, for isotropic and upsample.")
@click.option("--name", help="Name of the network; default: the folder's.")
def csbdeep(
    folder: Path,
    out: Path,
    task: Literal["denoise", "isotropic", "upsample", "project"] | None,
    factor: float,
    name: str | None,
) -> None:
    """Import a CSBDeep model FOLDER (config.json and .h5 weights) as OUT.

    The folder does not say whether the network is an IsotropicCARE or UpsamplingCARE: for these give --task, and as
    --factor the factor by which z was subsampled.
    """
    from care_live.model.csbdeep import import_csbdeep

    _refuse_bad_target(out)
    _tell(out, import_csbdeep(folder, out, task=task, factor=factor, name=name))


@import_command.command("bioimageio", short_help="Import a bioimage.io model that has ONNX weights.")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def bioimageio(model: Path, out: Path) -> None:
    """Import a bioimage.io MODEL (folder or .zip with bioimageio.yaml or rdf.yaml and ONNX weights) as OUT.

    Where the model has a test image, the result is compared with it.
    """
    from care_live.model.bioimageio import import_bioimageio, opened, read_description
    from care_live.restore.probe import measure_halo

    _refuse_bad_target(out)
    if _was_confined(model, out, []):
        return
    with opened(model) as folder:
        card = import_bioimageio(folder, out, measure=measure_halo)
        _tell(out, card)
        _compare_with_test_image(out, card, read_description(folder))


@import_command.command("onnx", short_help="Import any ONNX network that takes and gives images.")
@click.argument("network", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--card",
    "card_file",
    type=click.Path(path_type=Path),
    help="Card (TOML) of the network, written to be filled in if absent; default: beside OUT.",
)
def onnx(network: Path, out: Path, card_file: Path | None) -> None:
    """Import any ONNX NETWORK that takes and gives images as OUT.

    The first call writes OUT.card.toml with what the graph contains. Fill in the rest (how the input is normalised,
    what the output is, for which images the network was made) and call again.
    """
    from care_live.model.foreign import import_onnx
    from care_live.restore.probe import measure_halo

    _refuse_bad_target(out)
    if _was_confined(network, out, ["--card", str(card_file.resolve())] if card_file else []):
        return
    card_file = card_file or out.with_suffix(".card.toml")
    if not card_file.exists():
        _write_card_to_fill_in(network, card_file)
        raise ConfigError(f"wrote {card_file}: fill it in, then run the same command again")
    _tell(out, import_onnx(network, out, _read_card(card_file), measure=measure_halo))


def _was_confined(source: Path, out: Path, options: list[str]) -> bool:
    """Run the command again in a process with a deadline and limited memory; False: this is that process.

    Foreign converters and networks run there: they may hang, crash or ask for all memory.
    """
    from care_live.model import confined, file

    if confined.is_confined():
        confined.confine()
        return False
    command = [click.get_current_context().info_name or "", str(source.resolve()), str(out.resolve()), *options]
    try:
        said = confined.run("care_live", ["import", *command], str(source), limit_s=IMPORT_S, limit_mib=IMPORT_MIB)
        confined.raise_again(said, "care-live: ")
    finally:
        file.remove_unfinished(out.resolve())
    click.echo(said.output.decode(errors="replace"), nl=False)
    return True


def _refuse_bad_target(out: Path) -> None:
    if out.suffix != ".onnx" or not out.resolve().parent.is_dir():
        raise ConfigError(f"{out} cannot be written: name a .onnx file in a folder that exists")


def _tell(out: Path, card: ModelCard) -> None:
    click.echo(
        f"{out}: {card.task} over {card.axes}, {len(card.channels_in)} to {len(card.channels_out)} channels, "
        f"{' and '.join(card.heads)}; tiles of multiples of {card.divisor}, halo {card.halo_px} px"
    )
    restoring = typed("care-live", "restore", "INPUT", "OUTPUT", "--model", out)
    click.echo(f"Try it: {restoring}    ({printable(card.limits)})")


def _write_card_to_fill_in(network: Path, card_file: Path) -> None:
    from care_live.model.foreign import describe_graph, load_foreign

    card = describe_graph(load_foreign(network), network.stem)
    lines = [
        "# From the graph:",
        *(f"{key} = {_toml(getattr(card, key))}" for key in ("name", "axes", "divisor", "channels_in", "channels_out")),
        f"heads = {_toml(card.heads)}",
        "",
        "# Fill in. How the input is normalised: percentile, zero-mean-unit-variance or none.",
        'normalisation = "percentile"',
        "low_percentile = 2.0",
        "high_percentile = 99.8",
        "# What the output is: counts (care_live undoes the normalisation) or normalised (such as probabilities).",
        'output = "normalised"',
        "# How a field is padded to a multiple of the divisor: zero or reflect.",
        'boundary = "reflect"',
        'author = ""',
        'licence = ""',
        "[training]",
        'specimen = ""',
    ]
    card_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    import json

    return json.dumps(value)


def _read_card(path: Path) -> ModelCard:
    from pydantic import ValidationError

    from care_live.config import describe, read_toml
    from care_live.model.card import ModelCard

    try:
        tree = read_toml(path, "card")
        return ModelCard.model_validate({"halo_px": [0] * len(tree.get("axes", "")), **tree})
    except ValidationError as error:
        raise ConfigError(f"the card {path} breaks its schema: {describe(error)}") from error


def _compare_with_test_image(out: Path, card: ModelCard, description: Description) -> None:
    import numpy as np

    from care_live.model.confined import blamed_on

    if description.test_input is None or description.test_output is None:
        click.echo("The model has no test image, so its results were not compared.")
        return
    with blamed_on(f"{description.folder} has a test image that cannot be read"):
        given, wanted = np.load(description.test_input), np.load(description.test_output)
        if given.ndim != 2 + len(card.axes) or given.shape[1] != card.n_inputs or wanted.ndim != given.ndim:
            raise ValueError(f"its shapes are {given.shape} and {wanted.shape}; wanted (n, c) and the axes {card.axes}")
    deviation = float(np.abs(_predict(out, card, given) - wanted).max() / max(float(np.ptp(wanted)), 1e-6))
    if not deviation <= _LARGEST_DEVIATION:
        raise ModelError(f"{out} differs from the model's test image by {deviation:.1e} of the range: do not use it")
    click.echo(f"The model's test image: largest difference {deviation:.1e} of the range.")


def _predict(path: Path, card: ModelCard, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Run a network as the live engine does, on an image that need not be camera counts."""
    import numpy as np

    from care_live.config import RestoreConfig
    from care_live.restore.select import open_network

    network, _ = open_network(path, card, RestoreConfig(provider="cpu"))
    spans = [_span(card, channel) for channel in np.moveaxis(pixels, 1, 0)]
    shape = (pixels.shape[0], len(card.channels_out), *pixels.shape[2:])
    maps = [np.empty(shape, np.float32) for _ in card.heads]
    network.predict(pixels, spans, maps, tile_px=None)
    return maps[0]


def _span(card: ModelCard, pixels: NDArray[Any]) -> Any:
    import numpy as np

    from care_live.percentiles import Span

    if card.normalisation == "zero-mean-unit-variance":
        return Span(float(pixels.mean()), float(pixels.mean() + pixels.std()))
    if card.normalisation == "percentile":
        return Span(*(float(np.percentile(pixels, q)) for q in (card.low_percentile, card.high_percentile)))
    return Span(0.0, 1.0)
