"""Where the files lie that an earlier version wrote; README.md says what they are."""

from pathlib import Path

_HERE = Path(__file__).parent
NETWORK, MOVIE = _HERE / "tiny.onnx", _HERE / "movie.tif"
FINISHED, INTERRUPTED = _HERE / "finished", _HERE / "interrupted"
