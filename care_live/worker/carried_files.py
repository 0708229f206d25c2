"""Settings of restoration with the files that they name, for a machine that shares no disk with this one."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from care_live.config import RestoreConfig
from care_live.errors import ModelError
from care_live.model.file import located, unreadable


@dataclass(frozen=True, slots=True)
class CarriedConfig:
    """Settings whose paths are names, and the files by these names."""

    settings: Mapping[str, Any]
    files: Mapping[str, bytes]


def carried(config: RestoreConfig) -> CarriedConfig:
    """Return the settings of one worker with its networks, their cards and its camera file.

    Raises
    ------
    ModelError
        A file cannot be read.
    """
    files: dict[str, bytes] = {}
    try:
        for number, network in enumerate(config.networks):
            path = located(network.model)
            files[f"{number}.onnx"] = _network_in(path)
            if (card := path.with_suffix(".card.json")).is_file():
                files[f"{number}.card.json"] = card.read_bytes()
        if config.camera is not None:
            files[f"camera{config.camera.suffix}"] = config.camera.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read what a worker on another machine needs: {error}") from error
    return CarriedConfig(_moved(config, Path()).model_dump(mode="json", exclude_defaults=True), files)


def _network_in(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


class CarriedConfigs:
    """What was read for each settings, as long as these live.

    Other settings may name the same file later, and find another network in it.
    """

    def __init__(self) -> None:
        self._read: dict[int, CarriedConfig] = {}

    def of(self, config: RestoreConfig) -> CarriedConfig:
        """Return settings with their files, as they were when this was called with them first; see `carried`."""
        name = id(config)
        if name not in self._read:
            found = carried(config)
            alike = (one for one in list(self._read.values()) if one == found)  # in memory once for all workers
            self._read[name] = next(alike, found)
            weakref.finalize(config, self._read.pop, name, None).atexit = False
        return self._read[name]


def lay_down(names: Sequence[str], parts: Sequence[memoryview], folder: Path) -> None:
    """Write files that came into a folder.

    Raises
    ------
    OSError
        The disk is full.
    """
    for name, part in zip(names, parts, strict=True):
        (folder / Path(name).name).write_bytes(part)


def settled(settings: Mapping[str, Any], folder: Path) -> RestoreConfig:
    """Return settings that came, with the files of a folder."""
    return _moved(RestoreConfig.model_validate(settings), folder)


def named_as_here(message: str, config: RestoreConfig) -> str:
    """Return what a worker says of its files with their paths on this machine."""
    for number, network in enumerate(config.networks):
        path = str(located(network.model)).replace("\\", r"\\")
        message = re.sub(rf"[^\s'\"]*[/\\]{number}\.onnx\b", path, message)
    return message


def _moved(config: RestoreConfig, folder: Path) -> RestoreConfig:
    """Return settings that look for their files in a folder, under the names that they travel with."""
    for number in range(len(config.networks)):
        config = config.with_network(number, folder / f"{number}.onnx")
    if config.camera is not None:
        config = config.model_copy(update={"camera": folder / f"camera{config.camera.suffix}"})
    return config
