"""Networks for the benches, trained as a user trains them and kept in the cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from benches._pairs import say
from care_live.restore.engine import Engine
from care_live.training.evaluation.inference import open_engine
from care_live.training.export import export
from care_live.training.preview import Progress
from care_live.training.recipe import Recipe
from care_live.training.train import train

CACHE = Path(os.environ.get("CARE_LIVE_CACHE", Path.home() / ".cache" / "care_live"))
NETWORK = {
    "axes": "YX",
    "pool_px": [2, 2],
    "filters": 16,
    "depth": 2,
    "probabilistic": False,
    "batch_norm": True,
    "initialise": "he",
    "residual": True,
    "standardise": False,
    "decoder": "transpose",
}
FIT = {
    "batch": 4,
    "patch_px": [64, 64],
    "optimiser": "adam",
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "warmup_updates": 20,
    "loss": "mse",
    "clip_norm": 1.0,
    "average": 0.98,
    "device": "cpu",
}


class Trainer:
    """From a recipe's [data] to an engine with the trained network in it; networks are kept in the cache."""

    def __init__(self, folder: Path, n_updates: int | None, threads: int) -> None:
        self.folder, self.n_updates, self.threads = folder, n_updates, threads

    def engine(self, name: str, data: dict[str, Any], *, fit: dict[str, Any], network: dict[str, Any]) -> Engine:
        """Open a small 2D network, trained now unless the same recipe was trained on the same files before."""
        fitted = FIT | fit | ({"n_updates": self.n_updates} if self.n_updates else {})
        fitted |= {"threads": self.threads, "validate_every": min(200, fitted["n_updates"])}
        tree = {"name": name, "network": NETWORK | network, "data": data, "fit": fitted}
        recipe = Recipe.model_validate(tree)
        kept = CACHE / "systems" / f"{name}-{self._digest(recipe)}.onnx"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            train(recipe, self.folder / name, on_progress=show)
            export(self.folder / name, kept, checkpoint="last.pt")
        return open_engine(kept, threads=self.threads)

    def _digest(self, recipe: Recipe) -> str:
        """Digest the recipe, wherever its files lie, and the files."""
        anywhere = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"threads": 0})})
        digest = hashlib.sha256(anywhere.model_dump_json().replace(str(self.folder), "").encode())
        for path in sorted(self.folder.glob("**/*.tif")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


def show(progress: Progress) -> None:
    """Print a line at every validation."""
    if progress.validation_loss is not None:
        say(f"update {progress.update}/{progress.n_updates} loss {progress.loss:.4f} {progress.validation_loss:.4f}")
