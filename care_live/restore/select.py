"""Where a network runs: the GPU if it truly does and computes the same, else the CPU; never by surprise."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from care_live.backends import visible_gpu
from care_live.backends.device import DeviceSession
from care_live.backends.host_memory import available_bytes
from care_live.backends.session import Options, Provider, runtime
from care_live.config import RestoreConfig
from care_live.errors import CareLiveError, ConfigError
from care_live.model.card import ModelCard
from care_live.planewise import whole_volume
from care_live.restore import footprint, probe, two_d
from care_live.restore.tiled import Network, OpenSession

logger = logging.getLogger(__name__)

CUDNN_NEEDED = (9, 16, 0)
"""Before it, cuDNN computes some half-precision and TF32 3D convolutions wrongly, without an error
(pytorch issues 163539, 166480, 167024)."""
HOST_SHARE = 0.6
"""Of the memory that is available now."""


def open_network(
    path: Path,
    card: ModelCard,
    config: RestoreConfig,
    *,
    running: Callable[[], AbstractContextManager[None]] = nullcontext,
    float_input: bool = False,
) -> tuple[Network, Options]:
    """Open a network on the best provider that is allowed.

    Parameters
    ----------
    running : entered around every run of the network
    float_input : feed float32, whatever the type of the graph's input

    Raises
    ------
    ConfigError
        The provider cannot run here, or it has no fast mode.
    RestoreError
        It runs, but computes something else than the CPU.
    """
    visible_gpu.choose(config.device)
    tried = candidates(config)
    for provider in tried:
        try:
            quantised = is_quantised(config, provider)
            options = Options(provider, config.threads, config.fast_mode, quantised=quantised, running=running)
            options = replace(options, float_input=float_input)
            network = _open(path, card, config, options)
            logger.info("network model=%s provider=%s", card.name, provider)
            return _quicker(path, card, config, (network, options))
        except CareLiveError as error:
            if provider == tried[-1]:
                raise
            logger.warning("provider_refused provider=%s reason=%s", provider, error)
    raise ConfigError("no provider can run this network: see the warnings above")


def candidates(config: RestoreConfig) -> tuple[Provider, ...]:
    """Return the providers to try, best first."""
    if config.provider != "auto":
        return (config.provider,)
    host: Provider = "openvino" if config.fast_mode and _has_openvino() else "cpu"
    return ("cuda", host) if "CUDAExecutionProvider" in runtime().get_available_providers() else (host,)


def _quicker(
    path: Path, card: ModelCard, config: RestoreConfig, opened: tuple[Network, Options]
) -> tuple[Network, Options]:
    """Return the network in OpenVINO, if it may be, nothing of it is streamed, and it is measured to be quicker so.

    A 3D network that may stream stays with onnxruntime, which takes planes as they come: volumes of the virtual
    microscope are 0.63 to 0.79 s old with it, 0.68 to 0.77 s with OpenVINO (shipped network, two alternating runs
    each).
    A 2D network takes plane by plane with either.
    """
    if config.provider != "auto" or opened[1].provider != "cpu" or not _has_openvino():
        return opened
    if config.streaming != "off" and not two_d.fits(card):
        return opened
    options = replace(opened[1], provider="openvino")
    try:
        other = _open(path, card, config, options)
        cpu_s, openvino_s = probe.seconds(opened[0], card), probe.seconds(other, card)
    except CareLiveError as error:  # the user did not choose OpenVINO, so the run goes on without it
        logger.warning("provider_refused provider=openvino reason=%s", error)
        opened[0].forget()
        return opened
    chosen = (other, options) if openvino_s < cpu_s else opened
    logger.info("quicker=%s cpu_s=%.3g openvino_s=%.3g", chosen[1].provider, cpu_s, openvino_s)
    chosen[0].forget()
    return chosen


def precision_of(options: Options) -> str:
    """Return what a network is computed in: float32, or what fast mode takes on this machine."""
    if not options.fast_mode:
        return "f32"
    if options.provider != "openvino":
        return "tf32"
    from care_live.backends.openvino import fast_precision

    return fast_precision()


def is_quantised(config: RestoreConfig, provider: Provider) -> bool:
    """Return whether results shall come as codes: where they leave no device, that would save nothing."""
    if config.quantised and provider in {"cpu", "openvino"}:
        logger.info("quantised=no reason=results of provider %s leave no device", provider)
        return False
    return config.quantised


def _has_openvino() -> bool:
    return find_spec("openvino") is not None


def refuse_old_cudnn(version: tuple[int, int, int] | None) -> None:
    """Raise a ConfigError for a cuDNN that is known to compute wrongly; unknown versions pass with a warning."""
    if version is None:
        logger.warning("cudnn version=unknown wanted=%s or newer", ".".join(map(str, CUDNN_NEEDED)))
    elif version < CUDNN_NEEDED:
        raise ConfigError(
            f"cuDNN {'.'.join(map(str, version))} computes 3D convolutions wrongly; "
            f"install {'.'.join(map(str, CUDNN_NEEDED))} or newer (pip install -U nvidia-cudnn-cu13), "
            "or set provider = 'cpu'"
        )


def cudnn_version() -> tuple[int, int, int] | None:
    """Return the version of the cuDNN that this process has loaded or would load."""
    name = "cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9"
    try:
        number = int(ctypes.CDLL(name).cudnnGetVersion())
    except (OSError, AttributeError):
        return None
    return (number // 10000, number // 100 % 100, number % 100)


def _open(path: Path, card: ModelCard, config: RestoreConfig, options: Options) -> Network:
    provider = options.provider
    if config.fast_mode and provider == "cpu":
        raise ConfigError("fast_mode needs a GPU, or provider = 'openvino' from pip install 'care-live[openvino]'")
    plain = Options("cpu", config.threads, float_input=options.float_input)
    reference = _network(path, card, plain, probe.one_session())
    probe.check(reference, card)
    network = _network(path, card, options, opener(options))
    worst = probe.compare(reference, network, card, tolerance=_tolerance(options))
    logger.info("self_test provider=%s largest_difference=%.2g of the range", provider, worst)
    need = footprint.measure(path, card, planewise=provider == "cpu")
    network.bytes_per_px, network.budget_px = need.bytes_per_px, budget_px(need, provider)
    if config.fast_mode:
        network.fast_mode_deviation = probe.deviation(reference, network, card)
    return network


def opener(options: Options) -> OpenSession:
    """Return what opens sessions of a provider in the chosen precision.

    Raises
    ------
    ConfigError
        Its libraries are missing or too old.
    """
    if options.provider == "openvino":
        return openvino_opener(options)
    if options.provider in {"cuda", "tensorrt"}:
        runtime().preload_dlls()
        refuse_old_cudnn(cudnn_version())
        return DeviceSession
    return whole_volume.open_session  # on a CPU planes of 2D convolutions are faster than 3D ones


def openvino_opener(options: Options) -> OpenSession:
    from care_live.backends import int8
    from care_live.backends.openvino import OpenVinoSession, fast_precision

    if not options.fast_mode:
        return OpenVinoSession
    precision = fast_precision()
    if precision == "f32":
        logger.warning("fast_mode=f32 reason=this processor has neither bfloat16 nor fast bytes")
    return int8.open_session if precision == "int8" else partial(OpenVinoSession, precision=precision)


def _network(path: Path, card: ModelCard, options: Options, opener: OpenSession) -> Network:
    interpolated = card.task in {"isotropic", "upsample"}
    return Network(path, card, options, open_session=opener, float_input=interpolated or options.float_input)


def _tolerance(options: Options) -> float:
    """Return the largest difference to plain onnxruntime on the CPU that is allowed, relative to the range."""
    if options.provider == "cpu":
        return 1e-5
    return 3e-2 if options.fast_mode else 1e-3


def budget_px(need: footprint.Footprint, provider: Provider) -> int:
    """Return how many pixels one run may read: what memory holds, and what tensors can index.

    On a GPU only the second is known before a run; what does not fit there shrinks the tiles.
    """
    by_index = int((2**31 - 1) / max(need.values_per_px, 1.0))
    if provider in {"cuda", "tensorrt"}:
        return by_index
    return min(by_index, int(HOST_SHARE * available_bytes() / max(need.bytes_per_px, 1.0)))
