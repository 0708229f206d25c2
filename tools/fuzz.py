"""Damaged inputs for every reader: ``python tools/fuzz.py [TARGET] --seconds 60 --seed 0``

Sound inputs (cut from real data where they are on this machine, else written here) are flipped, cut, spliced and given
hostile values, and read in a child process. Only our own one-line errors pass, and results that are as they should be;
another exception, pixels of a damaged file taken for good, a hang, a crash or 512 MiB of growth is a failure. Each
distinct failure is saved under ``--out`` with a line that reproduces it. Without TARGET all share the time. The same
seed gives the same inputs. Exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from environment import ROOT, ensure, inference_extra

TARGETS = {
    "cl1": "messages and requests of the protocol",
    "link": "messages between a tap and the daemon",
    "tiff": "plain, compressed and ImageJ TIFF files",
    "ome-tiff": "OME-TIFF files",
    "ndtiff": "NDTiff folders",
    "ome-zarr": "OME-Zarr images and plates",
    "run": "run folders: reader, verify, resume",
    "onnx": "networks",
    "card": "model cards",
    "csbdeep": "CSBDeep model folders",
    "syscalls": "a system call that fails while a run is written",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print a table, and return 1 if anything failed."""
    options = _parser().parse_args(arguments)
    sys.path.append(str(ROOT))  # some sound inputs are those of the tests
    if options.replay:
        return replay(options.target, options.replay)
    from fuzzing.campaign import Campaign

    names = [options.target] if options.target else list(TARGETS)
    tallies = [
        Campaign(name, module(name), options.seed, options.seconds / len(names), options.out, options.inputs).run()
        for name in names
    ]
    print(table(tallies))
    return 1 if any(tally.n_failed for tally in tallies) else 0


def replay(target: str, saved: Path) -> int:
    """Read one saved case again and print what happens."""
    from fuzzing import child

    with tempfile.TemporaryDirectory() as folder:
        outcome = child.replay(module(target), saved, Path(folder))
    print(outcome.detail or outcome.kind)
    return 0 if outcome.passed else 1


def module(target: str) -> str:
    """Return the module that makes a target."""
    return f"fuzzing.{target.replace('-', '_')}_target"


def table(tallies: Sequence) -> str:
    """Return one line a target: inputs, what passed, what failed, in how many ways."""
    head = f"{'target':10}{'inputs':>10}{'own errors':>12}{'accepted':>10}{'failures':>10}{'distinct':>10}"
    lines = [
        f"{tally.target:10}{tally.kinds.total():10}{tally.kinds['refused']:12}{tally.kinds['accepted']:10}"
        f"{tally.n_failed:10}{len(tally.counts):10}"
        for tally in tallies
    ]
    return "\n".join([head, *lines])


def _parser() -> argparse.ArgumentParser:
    about = "\n".join(f"  {name:10}{text}" for name, text in TARGETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"targets:\n{about}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=TARGETS, help="none: all, sharing the time")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together (default 60)")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="largest number of inputs of a target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / ".fuzz", help="where failures are kept (default .fuzz)")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="read a saved failure of TARGET once more")
    return parser


if __name__ == "__main__":
    ensure(inference_extra(), "openvino", "mm", "train", "import", "view", "napari", "cluster", "dev")
    sys.exit(main())
