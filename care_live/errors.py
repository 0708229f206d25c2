"""What can go wrong, and what to do next; the type says which.

::

    CareLiveError               one line: what came, what was wanted, what to do
    ├── ConfigError             a setting, a file name or a command line: fix it, exit 2
    ├── SourceError             the microscope, a link or a recorded data set: the run cannot go on
    ├── FrameError              one plane is wrong: drop it, count it, go on
    ├── ModelError              a network or its card: refuse to start with it
    ├── UnknownNetworkError     both a ConfigError and a ModelError: a network is named that is not there
    ├── UnknownChannelError     both a ConfigError and a RestoreError: a network is to read a channel that data lack
    ├── RestoreError            inference failed for a volume: raw is safe, restore it later
    │   ├── OutOfMemoryError    shrink the tiles and try again
    │   ├── WorkerLostError     a process died or hung: another one may restore the volume
    │   └── WorkersAwayError    the link to other machines failed: the run goes on with the workers that it has
    ├── ProtocolError           bytes on the wire: drop the message, count it, go on
    ├── StoreError              disk: stop, or shed restored volumes first
    │   └── VolumeMemoryError   host memory ran out for one volume: that one is not stored, others may be
    ├── TrainingError           training data or a training run: fix the named file
    ├── StageError              a stage of the daemon failed or missed a deadline: drain and stop
    └── IncompleteError         a run went to its end, but not all that was planned is stored
"""

from __future__ import annotations


class CareLiveError(Exception):
    """Base of every error that care_live raises on purpose; printed as one line."""

    exit_code = 1


class ConfigError(CareLiveError):
    """A setting, a path or a command line that cannot be used as given."""

    exit_code = 2


class SourceError(CareLiveError):
    """No frames can come: no microscope, a lost link, an unreadable data set."""


class FrameError(CareLiveError):
    """One plane that cannot be placed; it is dropped and counted."""


class ModelError(CareLiveError):
    """A network or a model card that must not run."""


class UnknownNetworkError(ConfigError, ModelError):
    """A file is named as a network that does not exist or may not be read: a wrong setting or command line."""


class RestoreError(CareLiveError):
    """Inference failed for one volume; its raw planes are safe."""


class UnknownChannelError(ConfigError, RestoreError):
    """A network is to read a channel that a recording lacks: a wrong command line, or one odd data set of many."""


class OutOfMemoryError(RestoreError):
    """Host or device memory ran out during inference; smaller tiles may fit."""


class WorkerLostError(RestoreError):
    """The process that restored a volume died or hung, and is being replaced; another one may restore it now."""


class WorkersAwayError(RestoreError):
    """The link to workers on other machines failed, or they are given up; the message has what the run goes on with."""


class ProtocolError(CareLiveError):
    """A message that breaks protocol cl1; it is dropped and counted."""


class StoreError(CareLiveError):
    """The run directory cannot be written or read, or its contents contradict each other."""


class VolumeMemoryError(StoreError):
    """Host memory ran out while one volume was stored; it is not committed, and smaller ones may fit."""


class TrainingError(CareLiveError):
    """Training data or a training run that cannot be used; the message names the file."""


class StageError(CareLiveError):
    """A stage of the daemon failed or missed its deadline."""


class IncompleteError(CareLiveError):
    """A run went to its end, but lacks something that was planned; the message names it."""
