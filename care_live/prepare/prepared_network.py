"""A preparation from the first exposure to the verdict; what an earlier call has done in the same folder is kept.

The folder: ``plan.json``, the pairs (see `exposed_pairs`), ``training`` (see `care_live.training.train`), ``NAME.onnx``
with its card, and ``verdict.json``. Each file is written whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from care_live.config import Config
from care_live.daemon.live_restoring import restoring
from care_live.errors import ConfigError, ModelError, TrainingError
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.prepare.exposed_pairs import PairFolder, PairSplit, checked, split
from care_live.prepare.exposure_plan import ExposurePlan, plan_exposures
from care_live.prepare.gate import GatedVolume, GateVerdict, is_worth_starting_from, judge_volume
from care_live.prepare.pair_acquisition import OnPair, expose
from care_live.restore.engine import Engine
from care_live.training.data.examples import Tell
from care_live.training.evaluation.calibrate import calibrate, with_limits
from care_live.training.evaluation.inference import Applied, apply_to, open_engine
from care_live.training.export import export
from care_live.training.preview import Progress
from care_live.training.recipe import Recipe
from care_live.training.start import open_start
from care_live.training.train import train
from care_live.training.training_plan import TrainingPlan, begun_with, own_recipe
from care_live.worker.trial import refuse_other_kind

FORMS = Path("forms")
_TASK = "denoise"


@dataclass(frozen=True, slots=True)
class PreparationWatch:
    """What is called while a preparation goes on."""

    tell: Tell = lambda sentence: None
    """With a sentence on what was found, or begins."""
    on_pair: OnPair = lambda done, total: None
    on_plan: Callable[[TrainingPlan], None] = lambda plan: None
    on_progress: Callable[[Progress], None] | None = None
    before_training: Callable[[], None] = lambda: None
    """Once all is exposed, before the work that takes minutes."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a preparation gave."""

    network: Path
    gate: GateVerdict
    can_swap: bool
    """Whether a running daemon may take it; else viewers would suddenly get results of another kind."""


def plan_of(config: Config) -> ExposurePlan:
    """Return what a preparation will expose; the config's network is looked at before anything is exposed.

    Raises
    ------
    ConfigError
        The source drives no microscope, or the network is for another task.
    ModelError
        There is no such network.
    """
    path = network_of(config)
    card = file.read_card(path)
    if card.task != _TASK or len(card.channels_in) != len(card.channels_out):
        raise ConfigError(
            f"{path.name} is a network for the task {card.task!r}, {len(card.channels_in)} to {len(card.channels_out)} "
            f"channels: pairs of one volume's exposures teach {_TASK!r}, as many channels out as in"
        )
    return plan_exposures(config, card)


def network_of(config: Config) -> Path:
    """Return the network that the new one is compared with: the one that the daemon would run.

    Raises
    ------
    ConfigError
        Several networks restore the run; or it reads earlier time points, which the pairs do not have.
    ModelError
        A shipped network is named that this installation lacks.
    """
    first, *others = restoring(config).networks
    if others:
        raise ConfigError(
            f"{len(others) + 1} networks restore the run of this config: prepare makes one at a time: name its "
            "channel with --channel"
        )
    path = file.located(first.model)
    if path.exists() and (past := file.read_card(path).past):
        raise ConfigError(
            f"network {path} reads {past} earlier time points, which the pairs of prepare do not have: name another "
            "one in restore.model, or train from a time-lapse (care-live train --past)"
        )
    return path


def prepare(config: Config, folder: Path, watch: PreparationWatch | None = None, *, commit: str = "") -> Preparation:
    """Expose pairs, train, calibrate, and compare the new network with the config's.

    Parameters
    ----------
    folder : made when absent; an interrupted preparation goes on in it

    Raises
    ------
    ConfigError, SourceError, TrainingError, ModelError
        A setting is wrong, the microscope failed, too few pairs are good, or a network is broken.
    """
    watch = watch or PreparationWatch()
    plan = plan_of(config)
    _claim(folder, plan)
    exposed = PairFolder(folder / "exposed")
    expose(plan, exposed, on_pair=watch.on_pair)
    watch.before_training()
    network = folder / f"{name_of_network(folder)}.onnx"
    if network.exists():
        watch.tell(
            f"{network.name} is trained already. To train anew on these pairs, delete it and {folder / 'training'}"
        )
    gate = _gate_of_before(config, folder, network)
    if gate is None:
        names, left_out = checked(exposed, max_shift_px=config.prepare.max_shift_px)
        for pair in left_out:
            watch.tell(str(pair))
        pairs = split(folder, exposed, names, plan.n_held_out)
        watch.tell(pairs.describe())
        if not network.exists():
            train_network(config, plan, pairs, network, watch=watch, commit=commit)
        gate = gated(config, pairs, network, tell=watch.tell)
        _keep_verdict(config, folder, network, gate)
    return Preparation(network, gate, swaps_for(file.read_card(network), file.read_card(network_of(config))))


def _claim(folder: Path, plan: ExposurePlan) -> None:
    """Keep the plan in the folder; refuse a folder whose pairs were exposed otherwise."""
    said = plan.microscope.model_dump(mode="json")
    path = folder / "plan.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, said)
    elif not plan.is_of(json.loads(path.read_text(encoding="utf-8"))):
        raise ConfigError(
            f"{folder} holds pairs that were exposed with other settings: name another folder with --folder"
        )


def _gate_of_before(config: Config, folder: Path, network: Path) -> GateVerdict | None:
    """Return the verdict that an earlier call has come to, on these very networks."""
    path = folder / "verdict.json"
    if not (path.exists() and network.exists()):
        return None
    said = json.loads(path.read_text(encoding="utf-8"))
    if said["networks"] != _identities(config, network):
        return None
    return GateVerdict(said["before"], said["second"], tuple(GatedVolume(**one) for one in said["volumes"]))


def _keep_verdict(config: Config, folder: Path, network: Path, gate: GateVerdict) -> None:
    words = {"verdict": gate.sentence(), "is_better": gate.is_better, "networks": _identities(config, network)}
    write_json(folder / "verdict.json", words | asdict(gate))


def _identities(config: Config, network: Path) -> list[str]:
    return [file.identity(path).sha256 for path in (network_of(config), network)]


def write_json(path: Path, tree: Mapping[str, object]) -> None:
    """Write a file whole."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(tree, indent=2), encoding="utf-8")
    fresh.replace(path)


# -- training -----------------------------------------------------------------------------------------------------


def train_network(
    config: Config, plan: ExposurePlan, pairs: PairSplit, out: Path, *, watch: PreparationWatch, commit: str = ""
) -> None:
    """Train, export and calibrate a network; its file is there once all of that is done."""
    run, fresh = out.parent / "training", out.with_name(f".{out.stem}.fresh.onnx")
    recipe = recipe_of(config, plan, pairs, name=out.stem, tell=watch.tell)
    trained = train(recipe, run, on_plan=watch.on_plan, on_progress=watch.on_progress)
    if trained.verdict is not None:
        watch.tell(f"on a validation volume: {trained.verdict.sentence()}")
    file.write_card(fresh, described(export(run, fresh, commit=commit), plan))
    _calibrate(fresh, plan, pairs, watch.tell)
    fresh.replace(out)


def recipe_of(config: Config, plan: ExposurePlan, pairs: PairSplit, *, name: str, tell: Tell) -> Recipe:
    """Return the recipe of ``care-live train`` for these pairs, with the start that helps."""
    bright = plan.settings.second == "bright"
    recipe = own_recipe(
        [pairs.learn.first],
        pairs.learn.second if bright else None,
        second=None if bright else pairs.learn.second,
        minutes=plan.settings.minutes,
        name=name,
    )
    threads = plan.settings.threads or max(1, (os.cpu_count() or 2) // 2)
    fit = recipe.fit.model_copy(update={"threads": threads, "device": plan.settings.device})
    now = file.read_card(network_of(config))
    names = now.channels_in if len(now.channels_in) == len(plan.channels) else plan.channels
    card = recipe.card.model_copy(update={"channels_in": names, "channels_out": names})
    recipe = recipe.model_copy(update={"fit": fit, "card": card})
    start = start_of(config, plan, pairs)
    tell(f"training begins with {start or 'random weights'}")
    return recipe if start is None else begun_with(recipe, start)


def start_of(config: Config, plan: ExposurePlan, pairs: PairSplit) -> Path | None:
    """Return the network to begin with; None: random weights.

    The config's network gives its architecture, too, so an older one that is not standardised holds the new one back.
    On the virtual worm 5 minutes of one core from ``forms`` came to 36.8 dB, 2.3 dB above such a network.
    """
    wanted = plan.settings.start
    if wanted != "auto":
        return None if wanted == "nothing" else Path(wanted)
    now, first = network_of(config), pairs.learn.read(pairs.learn.names[0])
    engine = open_engine(now)
    axes = "ZYX" if plan.acquisition.z_planes > 1 else "YX"
    if engine.card.axes == axes and is_worth_starting_from(engine, *first):
        try:
            return now if open_start(now).network.standardise else FORMS
        except TrainingError:  # it came from elsewhere: its weights have no place in a network of ours
            return FORMS
    return FORMS


def name_of_network(folder: Path) -> str:
    """Return a network's name: the folder's, in letters that a card allows."""
    return (
        "".join(one if (one.isalnum() and one.isascii()) or one in "_.-" else "-" for one in folder.name)[:64]
        or "prepared"
    )


def described(card: ModelCard, plan: ExposurePlan) -> ModelCard:
    """Return the card with what the microscope knows: voxel size and exposure."""
    run = plan.acquisition
    exposures_ms = [channel.exposure_ms for channel in run.channels]
    training = card.training.model_copy(update={"exposure_ms": (min(exposures_ms), max(exposures_ms))})
    size_um = (run.z_step_um, run.pixel_size_um, run.pixel_size_um)
    return card.model_copy(update={"voxel_size_um": size_um, "training": training})


def _calibrate(network: Path, plan: ExposurePlan, pairs: PairSplit, tell: Tell) -> None:
    """Let the card hold how wide intervals must be, where held-out pairs say it; a dim exposure cannot say it."""
    if plan.settings.second == "dim":
        return
    engine = open_engine(network)
    applied = [_applied(engine, pairs, name) for name in pairs.held_out.names]
    result = calibrate(applied, engine.card.calibration)
    card = with_limits(engine.card, engine, (one.read for one in applied))
    if result.is_better:
        card = card.model_copy(update={"calibration": result.calibration})
    file.write_card(network, card)
    kept = "stored in its card" if result.is_better else "not stored, as it holds no better"
    tell(f"calibration: error of the coverage {result.before_ece:.3f} before, {result.after_ece:.3f} after; {kept}")


def _applied(engine: Engine, pairs: PairSplit, name: str) -> Applied:
    first, second = pairs.held_out.read(name)
    return apply_to(engine, first, second, unit="percentiles", condition="held-out", name=name)


# -- the gate -----------------------------------------------------------------------------------------------------


def gated(config: Config, pairs: PairSplit, network: Path, *, tell: Tell) -> GateVerdict:
    """Compare the new network with the config's on the held-out volumes."""
    before = network_of(config)
    engines = open_engine(before), open_engine(network)
    volumes = []
    for name in pairs.held_out.names:
        tell(f"comparing on {name}")
        volumes.append(judge_volume(name, *pairs.held_out.read(name), networks=engines, kind=config.prepare.second))
    return GateVerdict(engines[0].card.name, config.prepare.second, tuple(volumes))


def swaps_for(card: ModelCard, running: ModelCard) -> bool:
    """Tell whether a daemon would take a network in a running one's place: its results are of the same kind."""
    try:
        refuse_other_kind(card, running)
    except ModelError:
        return False
    return True
