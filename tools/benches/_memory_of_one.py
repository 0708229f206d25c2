"""Restore one volume in one way, and say how much memory it took (a process of its own, for `memory`)."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches._pairs import counts

ENDS = {"low": np.array([100], np.float32), "high": np.array([3000], np.float32)}


def main(how: str, shape: tuple[int, int, int], threads: int) -> None:
    work = {"bare": _bare, "exact": _exact, "streamed": _streamed, "merged_5": _merged, "sessions_5": _sessions}[how]
    counts((1, 1, 4, 8, 8))
    begun = psutil.Process().memory_info().rss
    with _Peak() as peak:
        work(counts((1, 1, *shape)), threads)
    print(json.dumps({"grown_mib": (peak.most - begun) / 2**20}))


class _Peak:
    """The most resident memory while a block runs, looked at every 5 ms."""

    def __enter__(self) -> _Peak:
        self.most, self._over = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="memory-watch")
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(0.005):
            self.most = max(self.most, process.memory_info().rss)


def _network(seed: int = 0):
    from care_live.model.unet_graph import UNet, build, seeded_weights

    return build(UNet(), seeded_weights(UNet(), seed))


def _bare(raw: np.ndarray, threads: int) -> None:
    from benches._pairs import bare_session

    bare_session(_network(), threads).run(None, {"raw": raw, **ENDS})


def _exact(raw: np.ndarray, threads: int) -> None:
    _open(_network(), raw, threads).run({"raw": raw, **ENDS})


def _open(model, raw: np.ndarray, threads: int):
    from care_live.restore.session import Options
    from care_live.restore.streaming.whole import open_session

    shapes = {"raw": raw.shape, "low": (1,), "high": (1,)}
    return open_session(model.SerializeToString(), shapes, Options(threads=threads))


def _streamed(raw: np.ndarray, threads: int) -> None:
    from care_live.model.card import ModelCard
    from care_live.percentiles import Span
    from care_live.restore.session import Options
    from care_live.restore.streaming.plan import StreamPlan
    from care_live.restore.streaming.stream import Pipeline

    heads = ("mean", "laplace_scale")
    card = ModelCard(name="default", divisor=(4, 4, 4), halo_px=(24, 24, 24), heads=heads)
    plan = StreamPlan.derive(_network(), card, raw.shape[3:], raw.shape[2])
    stream = Pipeline(plan, Options(threads=threads)).begin(
        [Span(100.0, 3000.0)], {head: np.empty(raw.shape[1:], np.float32) for head in heads}
    )
    for z in range(raw.shape[2]):
        stream.push(raw[0, :, z : z + 1].swapaxes(0, 1))


def _merged(raw: np.ndarray, threads: int) -> None:
    from care_live.model.merge import merge

    _open(merge([_network(seed) for seed in range(5)]), raw, threads).run({"raw": raw, **ENDS})


def _sessions(raw: np.ndarray, threads: int) -> None:
    """Five plain sessions, and the mixture's mean and scale in numpy."""
    from benches._pairs import bare_session

    sessions = [bare_session(_network(seed), threads) for seed in range(5)]
    results = [session.run(None, {"raw": raw, **ENDS}) for session in sessions]
    means, scales = (np.stack(part) for part in zip(*results, strict=True))
    away = np.abs(means - means.mean(0))
    (away + scales * np.exp(-away / scales)).mean(0)


if __name__ == "__main__":
    main(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])), int(sys.argv[5]))
