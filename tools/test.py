"""The whole suite, from nothing: ``python tools/test.py [pytest arguments]``.

Without a choice of tests the quick ones run first, two files at a time; those that are slow, or need a browser, a
Micro-Manager core or Java, follow one after the other, since many of them start processes and wait for what happens.

``python tools/test.py faults``: every fault that a run must survive, in its long form, for which the machine should be
quiet; about an hour. The suite itself has a short form of each.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import ROOT, ensure, inference_extra

QUICK = "not slow and not mm and not browser and not java"
CHOICES = ("-m", "-k", "-n", "--lf", "--ff", "--sw", "--last-failed", "--failed-first", "--stepwise")


def pytest(*arguments: str) -> int:
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)


def chooses(argument: str) -> bool:
    """Tell whether an argument of pytest names tests, or how many run at once."""
    return not argument.startswith("-") or argument.partition("=")[0] in CHOICES


def main(arguments: list[str]) -> int:
    """Run what is asked for; return pytest's exit code, the greater one of two runs."""
    if arguments[:1] == ["faults"]:
        os.environ["CARE_LIVE_FAULTS"] = "full"
        return pytest("tests/faults", *arguments[1:])
    if any(map(chooses, arguments)):
        return pytest(*arguments)
    quick = pytest("-n", "2", "--dist", "loadfile", "-m", QUICK, *arguments)
    return max(quick, pytest("-m", f"not ({QUICK})", *arguments))


if __name__ == "__main__":
    ensure(inference_extra(), "openvino", "mm", "train", "import", "view", "napari", "ndv", "cluster", "s3", "dev")
    raise SystemExit(main(sys.argv[1:]))
