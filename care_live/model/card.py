"""The model card: all that belongs to a network travels inside its ONNX file, never in a config.

The graph's contract: input ``raw`` (n, c, [z,] y, x), uint16 or float32 camera counts; inputs ``low`` and
``high`` (c,) float32, the counts that become 0 and 1; outputs ``mean`` and, as `heads` says,
``laplace_scale`` and ``disagreement``, each (n, c_out, [z,] y, x) float32. Normalisation and its undoing
are inside: mean and laplace_scale are camera counts, unless `output` is *normalised*. Spatial axes are
dynamic. A foreign network has no such inputs; then `normalisation` names what is done around it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from care_live.config import Section
from care_live.images import LIMITS
from care_live.maps import Head

METADATA_KEY = "care_live_card"
"""Where the card lies, as JSON, in the ONNX file's metadata."""

MOST_PAST = 8
"""Earlier time points that a network may read."""

Task = Literal["denoise", "isotropic", "deconvolve", "upsample", "project"]


class Calibration(Section):
    """Observed coverage of the network's central intervals, and the factors that correct it.

    At nominal level ``levels[i]`` the interval ``mean ± (−b·log(1−q))`` must be widened by ``factors[i]`` for
    the observed fraction to match; between levels the factor is interpolated, and widths stay monotone in q.
    """

    levels: tuple[float, ...]
    factors: tuple[float, ...]
    observed_before: tuple[float, ...] = ()
    observed_after: tuple[float, ...] = ()
    """On volumes that were not used to fit the factors."""


class EvidenceLimits(Section):
    """What contradicts the photons also in good restorations; measured on validation volumes, or these defaults.

    One number for each smoothing scale of `care_live.trust.evidence`, finest first. A smoothed residual is an alarm
    where it is larger than the camera's noise can be, and by more than these shares: at most once in 100 good volumes.
    """

    invented_of_interval: tuple[float, float, float] = (0.04, 0.03, 0.03)
    """Of half the network's own interval of 90 %, where the restoration is brighter than what was counted."""
    missing_of_interval: tuple[float, float, float] = (0.65, 0.4, 0.2)
    """Of the same, where it is darker: networks smooth the finest bright spots away."""
    invented_of_range: tuple[float, float, float] = (0.04, 0.02, 0.01)
    """Of the intensity range, for a network that gives no intervals."""
    missing_of_range: tuple[float, float, float] = (0.05, 0.03, 0.016)
    sd: tuple[float, float, float] = (1.3, 1.4, 1.8)
    """Largest standard deviation of the standardised residual: above it there is a slow bias."""
    texture_sd: float = 1.05
    """Largest of fine structures in bright places: above it they are not those that were counted."""
    allowance: float = 0.02
    """Error of intensity, as a share of the signal, that is not held against a restoration."""
    n_volumes: int = 0
    """Validation volumes that they were measured on; 0: defaults."""


class DomainFeatures(Section):
    """What restored volumes of the kind that the network was trained on are like, see `care_live.trust.features`."""

    mean: tuple[float, ...]
    inverse_covariance: tuple[float, ...]
    """(k, k), row by row."""
    limit: float
    """Largest distance that is still of that kind, in a volume of `n_voxels` or more."""
    n_voxels: int = 0
    """Of the largest raw volume among these; 0: the limit is one for all."""
    growth: float = Field(default=0.0, ge=0, le=0.5)
    """The limit of a smaller volume is higher by (n_voxels / its voxels) ** growth: it shows less of a specimen."""
    n_volumes: int = 0
    origin: str = ""
    """Where these volumes are from, in words; empty: its training, or its validation."""


TargetUnit: TypeAlias = Literal["percentiles", "counts"]


class TrainingDomain(Section):
    """For which data the network was made; outside of it the results are unknown."""

    specimen: str = ""
    exposure_ms: tuple[float, float] | None = None
    intensity_counts: tuple[float, float] | None = None
    """Range of the normalisation's low and high seen in training."""
    signal_electrons: tuple[float, float] | None = None
    """Peak photo-electrons of the inputs."""
    pixel_bits: int | None = None
    """Of a pixel of the inputs, 8 or 16."""
    features: DomainFeatures | None = None
    data_sha256: tuple[str, ...] = ()
    target_unit: TargetUnit = "percentiles"
    """Of recordings. *counts*: targets were brought to the counts of their inputs, so results are what the camera
    would count without noise. *percentiles*: each image had a range of its own, so results may be off by a gain and an
    offset."""
    n_updates: int = 0
    commit: str = ""
    recipe: str = ""
    """Name of the config that reproduces it."""


class ImageScores(Section):
    """How near images are to their ground truth, by `care_live.metrics`; means."""

    psnr_db: float
    ssim: float | None = None
    """None: without a ground truth, structures are not compared."""


CLEARLY_BETTER_DB = 0.3
"""Of PSNR: what a network must gain over a filter on a few validation images to be better on others."""


class NetworkVerdict(Section):
    """Whether the network is better than a filter, on volumes that it has not learnt from."""

    n_images: int
    raw: ImageScores
    gaussian: ImageScores
    """The best Gaussian filter, tuned with the truth of these very volumes."""
    classical: ImageScores
    """Total variation, tuned likewise."""
    network: ImageScores
    measured_with: Literal["target", "second exposure"] = "target"
    """*second exposure*: there was no clean image; PSNR is estimated from two noisy ones, and is at least that."""
    advice: str = ""
    """What may help a network that is worse than a filter, or hardly better."""

    @property
    def is_estimate(self) -> bool:
        """Whether figures are lower bounds, of PSNR and of what the network gains over a filter."""
        return self.measured_with == "second exposure"

    @property
    def gain_db(self) -> float:
        """PSNR over that of the better filter."""
        return self.network.psnr_db - max(self.gaussian.psnr_db, self.classical.psnr_db)

    @property
    def error_share(self) -> float:
        """Root mean square error over whole images, as a share of their range; of an estimate, at most that."""
        return float(10 ** (-self.network.psnr_db / 20))

    @property
    def is_worse(self) -> bool:
        """Whether a filter, tuned with the truth, has the higher PSNR."""
        return self.gain_db < 0

    @property
    def is_doubtful(self) -> bool:
        """Whether the network is worse than a filter, or better by less than such scores are uncertain."""
        return self.gain_db < CLEARLY_BETTER_DB

    def sentence(self) -> str:
        """Return the verdict in words, with what may help."""
        if self.is_doubtful:
            return f"{self.comparison()}: {self.advice or 'use the filter'}"
        return f"{self.comparison()}; {self.advice}" if self.advice else self.comparison()

    def comparison(self) -> str:
        """Return how the network compares with a filter."""
        psnr_db, name = max((self.gaussian.psnr_db, "Gaussian"), (self.classical.psnr_db, "total variation"))
        least = "at least " if self.is_estimate else ""
        figures = f"{least}{self.network.psnr_db:.1f} dB, raw {self.raw.psnr_db:.1f} dB, {name} filter {psnr_db:.1f} dB"
        if self.is_doubtful:
            how = "worse than a filter" if self.is_worse else "hardly better than a filter"
            return f"{how} ({figures})"
        return f"better than a filter by {least}{self.gain_db:.1f} dB ({figures})"


class ModelCard(Section):
    """What a restorer, a store and a watcher must know of a network."""

    card: Literal["care-live-1"] = "care-live-1"
    name: str = Field(pattern=r"^[0-9A-Za-z_.-]{1,64}$")
    task: Task = "denoise"
    axes: Literal["YX", "ZYX"] = "ZYX"
    """What the network reads at once."""
    channels_in: tuple[str, ...] = ("any",)
    channels_out: tuple[str, ...] = ("any",)
    past: int = Field(default=0, ge=0, le=MOST_PAST)
    """Earlier time points that the network reads with the present one. They are further channels of the graph: all of
    `channels_in` now, then all of them one time point before, and so on; each with the range of the present one."""
    divisor: tuple[int, ...]
    """Input sizes must be multiples of this, one per axis of `axes`."""
    halo_px: tuple[int, ...]
    """Measured reach of the network for tiles aligned to the divisor, one per axis of `axes`."""
    heads: tuple[Head, ...] = ("mean",)
    members: int = Field(default=1, ge=1)
    """Networks merged into this graph; two or more with a Laplace scale give their disagreement, one does not."""
    normalisation: Literal["in-graph", "percentile", "zero-mean-unit-variance", "none"] = "in-graph"
    """*in-graph*: the graph takes low and high. The others: done around a foreign graph."""
    low_percentile: float = Field(default=2.0, ge=0, lt=100)
    high_percentile: float = Field(default=99.8, gt=0, le=100)
    output: Literal["counts", "normalised"] = "counts"
    """*normalised*: what the network gives is not in camera counts (in ≠ out channels, foreign networks)."""
    boundary: Literal["zero", "reflect"] = "zero"
    """How a field that is no multiple of the divisor is padded: reflect matches CSBDeep."""
    combine: Literal["mixture", "geometric-mean"] = "mixture"
    """Isotropic networks: how the two views become one distribution; geometric-mean matches CSBDeep."""
    mirror_yz: bool = False
    """Isotropic networks: the yz slices are shown upside down; CSBDeep turns its two views that way."""
    factor: float = Field(default=1.0, gt=0)
    """Isotropic and upsample: how many restored planes a raw plane becomes."""
    upsampled: Literal["raw-range", "own-range", "csbdeep"] = "raw-range"
    """Upsample: *own-range*: the range is measured after interpolation, as it was in training; *csbdeep*: likewise, and
    interpolated counts are rounded; *raw-range*: it is measured on the raw planes, as for older networks."""
    voxel_size_um: tuple[float, float, float] | None = None
    network: str = ""
    """Architecture in words: depth, filters, kernel, pooling, decoder, batch norm folded or none."""
    training: TrainingDomain = TrainingDomain()
    calibration: Calibration | None = None
    evidence: EvidenceLimits = EvidenceLimits()
    verdict: NetworkVerdict | None = None
    """None: the network was not compared with filters."""
    fast_mode_deviation: float | None = None
    """Measured rms deviation of reduced precision, in units of the predicted Laplace scale."""
    quantised: bool = False
    """Set where it runs: results came from its device as `care_live.model.quantised_outputs`, scales within 2.2 %."""
    author: str = ""
    licence: str = ""
    limits: str = LIMITS

    @property
    def n_inputs(self) -> int:
        """Channels that the graph takes: those of the present time point and of the earlier ones."""
        return len(self.channels_in) * (1 + self.past)


def unnamed_channels(n: int) -> tuple[str, ...]:
    """Return names for the channels of a network that has none for them; a single one is whatever the run has."""
    return ("any",) if n == 1 else tuple(f"channel-{c}" for c in range(n))
