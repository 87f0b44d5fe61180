"""One training: from a config and prepared data to weights, history and predictions in a run folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from lenet.config.schema import Config
from lenet.core.atomic_io import atomic_write, write_bytes, write_json
from lenet.data.device_dataset import load_to_device, load_windows_to_device
from lenet.data.loader import TrainingBatches
from lenet.kernels.choice import FUSED, LENET5_1998, resolve_kernel
from lenet.kernels.logits import compute_logits
from lenet.models.classifier import Classifier, build_classifier
from lenet.training.checkpoint import DurableCheckpoints, newest_checkpoint
from lenet.training.devices import choose_accelerator, set_memory_format
from lenet.training.distributed import other_ranks
from lenet.training.graph_steps import GraphSteps
from lenet.training.lightning import Callback, DDPStrategy, LightningEnvironment, lightning
from lenet.training.module import ClassifierModule
from lenet.training.progress import EpochBar
from lenet.training.signals import GracefulStop
from lenet.training.steps import FusedSteps, Steps, StepsOf1998, TorchSteps

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
CHECKPOINTS = "checkpoints"
HISTORY = "history.json"
EARLY = "stopped_early"
"""Key of the history of a run that early stopping ended."""

OWNER = "fingerprint"
"""Key of the history that says whose it is."""

WEIGHTS = "weights.safetensors"
PREDICTIONS = "validation.npz"


def fit(config: Config, prepared: Path, folder: Path, on_epoch: Callable[[], None]) -> None:
    """Train a run, from its newest checkpoint where there is one, and write the result into its folder.

    Args:
        config: the run.
        prepared: the data set's prepared folder.
        folder: the run's folder; history, checkpoints, weights and validation predictions go there. Its name is the
            run's fingerprint, which history and checkpoints carry.
        on_epoch: called after each epoch whose state is safe in the folder.

    Raises:
        ConfigError: the config names a device that is not there, or a kernel that does not train it.
        RunFailedError: the loss is not finite.
        Stopped: a signal ended it; the epochs before it are safe.
    """
    choose_accelerator(config)
    config = resolve_kernel(config)
    with (
        _threads(config.trainer.threads),
        GracefulStop() as interrupts,
        other_ranks(config, prepared, folder) if config.trainer.devices > 1 else nullcontext(),
    ):
        _fit(config, prepared, folder, rank=0, keeper=_CheckpointCallback(config, folder, on_epoch, interrupts))


def fit_rank(config: Config, prepared: Path, folder: Path, rank: int) -> None:
    """Take part in a training as one of its other ranks, which keep nothing."""
    with _threads(config.trainer.threads):
        _fit(config, prepared, folder, rank, keeper=None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within the block torch uses `count` threads, or as many as before where it is 0."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _CheckpointCallback(Callback):
    """Writes each epoch: checkpoint, then history, then calls `on_epoch`."""

    def __init__(self, config: Config, folder: Path, on_epoch: Callable[[], None], interrupts: GracefulStop) -> None:
        self.checkpoints = DurableCheckpoints(folder / CHECKPOINTS, config.trainer.checkpoint_seconds, folder.name)
        self.interrupts = interrupts
        self._folder = folder
        self._on_epoch = on_epoch
        self._epochs = config.trainer.epochs

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.interrupts.listen()  # Lightning's own handlers are in place by now
        _stop_early(trainer, module)  # resumed from a checkpoint of its last epoch

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.interrupts.check()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassifierModule)
        module.close_epoch()
        trainer.save_checkpoint("", weights_only=False)
        _stop_early(trainer, module)
        if self.checkpoints.is_due or len(module.history) == self._epochs or trainer.should_stop:
            self.keep(module)

    def keep(self, module: ClassifierModule) -> None:
        self.rescue(module)
        self._on_epoch()

    def rescue(self, module: ClassifierModule) -> None:
        """Write the epochs that are done, due or not."""
        self.checkpoints.flush()
        body = {OWNER: self._folder.name, "epochs": module.history}
        write_json(self._folder / HISTORY, body | ({EARLY: True} if module.is_stopped_early else {}))


def _stop_early(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    assert isinstance(module, ClassifierModule)
    trainer.should_stop = trainer.should_stop or module.is_stopped_early


class _FollowerEpochs(Callback):
    """What the other ranks do at an epoch's end: the sums over ranks and the checkpoint need every rank."""

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        _stop_early(trainer, module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassifierModule)
        module.close_epoch()
        trainer.save_checkpoint("", weights_only=False)
        _stop_early(trainer, module)


def _fit(config: Config, prepared: Path, folder: Path, rank: int, keeper: _CheckpointCallback | None) -> None:
    _quiet_lightning()
    lightning.seed_everything(config.seed, verbose=False)
    world = config.trainer.devices
    checkpoints = keeper.checkpoints if keeper else DurableCheckpoints(folder / CHECKPOINTS, 0.0, folder.name)
    trainer = _trainer(config, [keeper, EpochBar(config)] if keeper else [_FollowerEpochs()], checkpoints)
    device = trainer.strategy.root_device
    dataset = load_to_device(prepared, config.data, device)
    classifier = build_classifier(config, dataset.mean, dataset.deviation)
    if config.trainer.kernel != FUSED:
        set_memory_format(classifier.network, choose_accelerator(config))
    module = ClassifierModule(config, classifier, _steps(config, classifier))
    windows = load_windows_to_device(dataset.images, classifier.field.input_size, config.augmentation.shift)
    module.batches = TrainingBatches(
        windows,
        dataset.labels,
        config.trainer.batch_size,
        config.seed,
        lambda: module.current_epoch,
        rank,
        world,
        config.trainer.accumulate,
        config.trainer.max_batches,
    )
    module.validation = dataset.validation
    if keeper:
        keeper.interrupts.check()
    resume = newest_checkpoint(folder / CHECKPOINTS, folder.name)
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except BaseException:
        if keeper:
            keeper.rescue(module)
        raise
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if keeper:
        keeper.keep(module)
        _write_results(module, folder)
        keeper.interrupts.check()  # heard after the last step: a sweep must not go on to its next run


def _steps(config: Config, classifier: Classifier) -> Steps:
    if config.trainer.kernel == FUSED:
        return (StepsOf1998 if config.model.name == LENET5_1998 else FusedSteps)(config, classifier)
    if config.trainer.cuda_graphs and choose_accelerator(config) == "gpu" and not _is_distributed(config):
        return GraphSteps(config, classifier)
    return TorchSteps(config, classifier)


def _is_distributed(config: Config) -> bool:
    return config.trainer.devices > 1 or config.trainer.strategy == "ddp"


def _trainer(config: Config, callbacks: list[Callback], checkpoints: DurableCheckpoints) -> lightning.Trainer:
    accelerator = choose_accelerator(config)
    if config.trainer.precision == "fp32":  # fp32 means fp32: no TF32 in convolutions
        torch.backends.cudnn.allow_tf32 = False
    # No kernel here reads memory that it has not written, and filling it costs a GPU as much as some of them.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    backend = "nccl" if accelerator == "gpu" else "gloo"
    return lightning.Trainer(
        accelerator=accelerator,
        devices=config.trainer.devices,
        strategy=DDPStrategy(process_group_backend=backend) if _is_distributed(config) else "auto",
        precision=PRECISIONS[config.trainer.precision],  # type: ignore[arg-type]
        max_epochs=config.trainer.epochs,
        callbacks=callbacks,
        # Named: from a scheduler's variables (SLURM_NTASKS=4) Lightning would conclude that processes share the work.
        plugins=[checkpoints, LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        deterministic=None if config.trainer.kernel == FUSED else True,  # torch imports its compiler for it, a second
        benchmark=False,
    )


def _write_results(module: ClassifierModule, folder: Path) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.classifier.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state))
    if module.validation is not None:
        logits = compute_logits(module.classifier, module.validation.images)
        with atomic_write(folder / PREDICTIONS) as temporary, temporary.open("wb") as stream:
            np.savez(stream, logits=logits.numpy(), labels=module.validation.labels.cpu().numpy())


def _quiet_lightning() -> None:
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*|lightning_fabric\..*")


def training_seconds(history: list[dict[str, float]]) -> float:
    """Return the wall time that the epochs of a history took, in seconds."""
    return sum(row["seconds"] for row in history)
