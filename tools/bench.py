"""Benchmarks: ``python tools/bench.py NAME [--json FILE]``, one file a benchmark in tools/benches/.

Each compares in one run and reports ratios, with the bare limit or a peer's figure beside ours.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

BENCHES = Path(__file__).parent / "benches"


def main() -> None:
    names = sorted(path.stem for path in BENCHES.glob("*.py") if not path.stem.startswith("_"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments, rest = parser.parse_known_args()
    sys.path.insert(0, str(Path(__file__).parent))
    bench = importlib.import_module(f"benches.{arguments.name}")
    figures = bench.measure(rest)
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
