"""The whole suite, from nothing: ``python tools/test.py [pytest arguments]``.

Without a choice of tests the quick ones run first; those that are slow, or need a browser or a Micro-Manager core,
follow; both two files at a time. Those that need the machine or a port to themselves come last, one after the other.
The latter two parts start other programs and wait for what happens. What fails there runs once more, with nothing
beside it, and what it said before stays on the screen: a test that fails twice has failed.

``python tools/test.py faults``: every fault that a run must survive, in its long form, for which the machine should be
quiet; about an hour. The suite itself has a short form of each.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import ROOT, ensure, inference_extra

QUICK = "not slow and not mm and not browser and not java"
ALONE = "java or alone"
BESIDE = ("-n", "2", "--dist", "loadfile")
TESTS_FAILED = 1
CHOICES = ("-m", "-k", "-n", "--lf", "--ff", "--sw", "--last-failed", "--failed-first", "--stepwise")


def pytest(*arguments: str) -> int:
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)


def chooses(argument: str) -> bool:
    """Tell whether an argument of pytest names tests, or how many run at once."""
    return not argument.startswith("-") or argument.partition("=")[0] in CHOICES


def whole(*arguments: str) -> int:
    """Run every test; return the greatest exit code of the three parts."""
    quick = pytest(*BESIDE, "-m", f"({QUICK}) and not ({ALONE})", *arguments)
    slow = pytest_twice(f"not ({QUICK}) and not ({ALONE})", *BESIDE, *arguments)
    return max(quick, slow, pytest_twice(ALONE, *arguments))


def pytest_twice(marked: str, *arguments: str) -> int:
    """Run the tests that are marked so; what fails has a second chance, one test after the other."""
    code = pytest("-m", marked, *arguments)
    if code != TESTS_FAILED:
        return code
    print("\nonce more, one after the other: what failed", flush=True)
    return pytest("-m", marked, *arguments, "-n", "0", "--last-failed", "--last-failed-no-failures", "none", "-v")


def main(arguments: list[str]) -> int:
    """Run what is asked for; return pytest's exit code."""
    if arguments[:1] == ["faults"]:
        os.environ["CARE_LIVE_FAULTS"] = "full"
        return pytest("tests/faults", *arguments[1:])
    if any(map(chooses, arguments)):
        return pytest(*arguments)
    return whole(*arguments)


if __name__ == "__main__":
    ensure(inference_extra(), "openvino", "mm", "train", "import", "view", "napari", "ndv", "cluster", "s3", "dev")
    raise SystemExit(main(sys.argv[1:]))
