"""The typed config of a run: every knob with its type, its range and its meaning.

No DictConfig lives below this module: Hydra's composition is turned into these frozen dataclasses at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from lenet.config.data_sources import OriginConfig
from lenet.config.networks import NETWORKS, ModelConfig, config_class
from lenet.config.validation import Bounds, ByName, Matching, Name, parse
from lenet.core.errors import ConfigError

ExperimentName = Annotated[
    str,
    Matching(
        r"\w(?:[\w. -]*[\w.-])?(?:/\w(?:[\w. -]*[\w.-])?)*",
        "a name of letters, digits, '.', '_', '-' and, inside, spaces and '/'; each part begins with a letter or digit",
    ),
]
"""Folders' names, and spaces in them."""

StoreUri = Annotated[
    str,
    Matching(
        r"(?!sqlite:///(?!/)(?:.*/)?\.\.(?:/|$)).*",
        "within the project's home, from where a relative path is taken; for another place write the whole path, sqlite:////…",
    ),
]
"""A database's or a server's address; a file outside the home is one that was typed as an absolute path."""

ClassName = Annotated[str, Matching(r"\S(?:.*\S)?", "a name in one line, without spaces at its ends")]
MAX_CLASSES = 256

Positive = Annotated[int, Bounds(low=1)]
Fraction = Annotated[float, Bounds(low=0, high=1)]


IDLE = ("name", "tracking")
IDLE_TRAINER = ("accelerator", "strategy", "cuda_graphs", "threads", "checkpoint_seconds", "progress")
"""Keys of a config, and of its trainer, that cannot change the trained weights."""


@dataclass(frozen=True)
class DataConfig:
    """The data set and how much of it is trained on."""

    name: Name
    """Folder under data/raw and data/prepared, and the file's name in conf/data."""
    channels: Annotated[int, Bounds(low=1, high=16)]
    """1 for grey images, 3 for colour."""
    height: Annotated[int, Bounds(low=1, high=1024)]
    """Rows of an image, in pixels."""
    width: Annotated[int, Bounds(low=1, high=1024)]
    """Columns of an image, in pixels."""
    classes: tuple[ClassName, ...]
    """The names of the classes; label 0 is the first, and 256 labels fit into a byte."""
    train_size: Positive | None
    """Training images, a stratified subset; null takes all that validation leaves."""
    validation_size: Annotated[int, Bounds(low=0)]
    """Images held out of the official training set, the same ones for every run; 0 trains on all."""
    origin: OriginConfig | None = None
    """Where IDX files come from; only fetching reads it."""
    image_folder: str | None = None
    """In place of `origin`: a folder with train/<class>/*.png and test/<class>/*.png, relative to the project."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class AugmentationConfig:
    """What happens to a training image before it is shown."""

    name: Literal["none", "shift"]
    shift: Annotated[int, Bounds(low=0, high=8)]
    """Largest random translation in pixels, drawn anew for each image and epoch; 0 is none."""


@dataclass(frozen=True)
class ConstantConfig:
    """The learning rate stays as it is."""

    name: Literal["constant"]


@dataclass(frozen=True)
class CosineConfig:
    """Half a cosine from the learning rate down to a fraction of it."""

    name: Literal["cosine"]
    final_fraction: Fraction
    """Last rate as a fraction of the learning rate."""


@dataclass(frozen=True)
class OneCycleConfig:
    """Linear warm-up to the learning rate, then linear decay to a fraction of it (after Smith, 2018)."""

    name: Literal["one_cycle"]
    warmup_fraction: Fraction
    """Part of all steps spent warming up."""
    final_fraction: Fraction
    """Last rate as a fraction of the learning rate."""


@dataclass(frozen=True)
class StepConfig:
    """The learning rate is multiplied by a factor every few epochs."""

    name: Literal["step"]
    every_epochs: Positive
    factor: Annotated[float, Bounds(above=0, high=1)]


@dataclass(frozen=True)
class LeCun1998Config:
    """The paper's schedule: the rate for 2 epochs, 0.4 of it for 3, 0.2 for 3, 0.1 for 4, then 0.02 (Section III)."""

    name: Literal["lecun1998"]


Schedule = ConstantConfig | CosineConfig | OneCycleConfig | StepConfig | LeCun1998Config
LearningRate = Annotated[float, Bounds(above=0, high=100)]
WeightDecay = Annotated[float, Bounds(low=0, high=10)]
LabelSmoothing = Annotated[float, Bounds(low=0, high=0.99)]
Moment = Annotated[float, Bounds(low=0, high=0.99999)]


@dataclass(frozen=True)
class SgdConfig:
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    name: Literal["sgd"]
    learning_rate: LearningRate
    momentum: Moment
    nesterov: bool
    weight_decay: WeightDecay
    label_smoothing: LabelSmoothing
    schedule: Schedule


@dataclass(frozen=True)
class AdamConfig:
    """Adam (Kingma & Ba, 2015), or AdamW (Loshchilov & Hutter, 2019).

    Weight decay is added to the gradient by the first, and decoupled from it by the second.
    """

    name: Literal["adam", "adamw"]
    learning_rate: LearningRate
    beta1: Moment
    beta2: Moment
    weight_decay: WeightDecay
    label_smoothing: LabelSmoothing
    schedule: Schedule


@dataclass(frozen=True)
class SdlmConfig:
    """Stochastic diagonal Levenberg-Marquardt (LeCun et al. 1998, Appendix C): a step size for each weight."""

    name: Literal["sdlm"]
    learning_rate: LearningRate
    """Divided by `damping` plus the weight's second derivative."""
    damping: Annotated[float, Bounds(above=0, high=100)]
    """mu of the paper."""
    samples: Positive
    """Images of which the second derivatives are taken before each epoch."""
    label_smoothing: LabelSmoothing
    schedule: Schedule


Optimizer = SgdConfig | AdamConfig | SdlmConfig


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When training ends before its last epoch; the weights are those of the epoch it ends with."""

    patience: Positive | None
    """Epochs in a row without a lower validation error after which training ends; null trains all epochs."""
    min_delta: Annotated[float, Bounds(low=0, high=100)]
    """Percentage points by which an error has to be lower to count."""


@dataclass(frozen=True)
class TrainerConfig:
    """How long, in what portions and on what the network is trained."""

    epochs: Annotated[int, Bounds(low=1, high=100_000)]
    """Passes over the training images."""
    batch_size: Annotated[int, Bounds(low=1, high=65_536)]
    """Images a mini-batch, over all devices together."""
    accumulate: Annotated[int, Bounds(low=1, high=1024)]
    """Mini-batches whose gradients are averaged for one optimizer step."""
    gradient_clip: Annotated[float, Bounds(above=0)] | None
    """Largest norm of the gradient of all weights together, which is scaled down to it; null leaves it as it is."""
    early_stopping: EarlyStoppingConfig
    max_batches: Positive | None
    """Mini-batches an epoch, for a quick look; null takes all."""
    precision: Literal["fp32", "bf16"]
    """Arithmetic of the forward and backward pass; weights stay fp32."""
    devices: Annotated[int, Bounds(low=1, high=64)]
    """Processes that share each batch; more than one trains with DDP."""
    accelerator: Literal["auto", "cpu", "gpu"]
    """auto takes a GPU where there is one."""
    strategy: Literal["auto", "ddp"]
    """auto is ddp when there is more than one device."""
    kernel: Literal["auto", "fused", "torch"]
    """What does the arithmetic: the fused kernel, whose results are the same bits on every CPU, or torch. auto is fused
    for the networks that it knows, on a CPU and in fp32."""
    cuda_graphs: bool
    """Record the steps of a training on one GPU and replay them, which changes their speed alone."""
    threads: Annotated[int, Bounds(low=0, high=1024)]
    """CPU threads; 0 leaves their number to torch."""
    checkpoint_seconds: Annotated[float, Bounds(low=0)]
    """Least time between two checkpoints, which are taken at an epoch's end; 0 takes one every epoch."""
    progress: bool
    """Show a progress bar on a terminal."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are shown."""

    uri: StoreUri | None
    """MLflow tracking URI; null is MLFLOW_TRACKING_URI, or else SQLite in the project's home."""
    experiment: ExperimentName | None
    """MLflow experiment; null is MLFLOW_EXPERIMENT_NAME, or else the data set's name."""


@dataclass(frozen=True)
class Config:
    """A run, whole."""

    name: Name
    """The variant this run belongs to; a label, no part of the identity."""
    seed: Annotated[int, Bounds(low=0, high=2**32 - 1)]
    """Draws the initial weights, the order of the images and their augmentation."""
    data: DataConfig
    model: Annotated[ModelConfig, ByName(tuple(NETWORKS), config_class)]
    augmentation: AugmentationConfig
    optimizer: Optimizer
    trainer: TrainerConfig
    tracking: TrackingConfig

    def identity(self) -> dict[str, Any]:
        """Return the part of the config that can change the trained weights, as a plain tree."""
        return identity_of(self.tree())

    def tree(self) -> dict[str, Any]:
        """Return every knob as a plain tree, without where the data comes from."""
        tree = asdict(self)
        del tree["data"]["origin"], tree["data"]["image_folder"]
        tree["data"]["classes"] = list(self.data.classes)
        return tree

    def with_seed(self, seed: int) -> Config:
        """Return the same config with another seed."""
        return replace(self, seed=seed)


def identity_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config's plain tree that can change the trained weights."""
    trainer = {name: value for name, value in tree["trainer"].items() if name not in IDLE_TRAINER}
    classes = tree["data"]["classes"]  # their number matters, their names do not
    data = tree["data"] | {"classes": len(classes) if isinstance(classes, list) else classes}
    return {name: value for name, value in tree.items() if name not in IDLE} | {"trainer": trainer, "data": data}


def parse_config(tree: Any) -> Config:
    """Turn a composed tree into a Config, checking what single fields cannot know.

    Raises:
        ConfigError: a key, type, name, range or combination is not allowed.
    """
    config: Config = parse(Config, tree, "")
    check_classes(config.data.classes)
    if config.trainer.batch_size % config.trainer.devices:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size}:"
            f" must be a multiple of trainer.devices={config.trainer.devices}"
        )
    if config.augmentation.name == "none" and config.augmentation.shift:
        raise ConfigError(
            f"augmentation.shift={config.augmentation.shift}: augmentation=none has none; use augmentation=shift"
        )
    if config.trainer.early_stopping.patience is not None and config.data.validation_size == 0:
        raise ConfigError(
            f"trainer.early_stopping.patience={config.trainer.early_stopping.patience}: needs validation images;"
            " data.validation_size is 0"
        )
    if isinstance(config.optimizer, SdlmConfig) and (
        config.model.name != "lenet5_1998" or config.trainer.kernel == "torch"
    ):
        raise ConfigError("optimizer=sdlm: takes its steps in the kernel of model=lenet5_1998 alone")
    if getattr(config.model, "loss", "cross_entropy") != "cross_entropy" and config.optimizer.label_smoothing:
        raise ConfigError("optimizer.label_smoothing: needs model.loss=cross_entropy")
    if isinstance(config.optimizer, SgdConfig) and config.optimizer.nesterov and config.optimizer.momentum == 0:
        raise ConfigError("optimizer.nesterov=true: needs optimizer.momentum more than 0")
    return config


def check_classes(classes: tuple[str, ...]) -> None:
    """Check the names of a data set's classes.

    Raises:
        ConfigError: there are too few or too many of them, or two are the same.
    """
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise ConfigError(f"data.classes: names {len(classes)} classes; must be 2 to {MAX_CLASSES}")
    twice = next((name for name in classes if classes.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"data.classes: names {twice!r} twice; each class needs a name of its own")
