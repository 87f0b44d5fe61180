from __future__ import annotations

import itertools
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, sha256_file
from lenet.core.errors import ConfigError, DamagedError, RunFailedError, Stopped
from lenet.data.arrays import load_training, read_card
from lenet.data.split import split
from lenet.evaluation.predict import load_network, predict
from lenet.kernels.library import LEVEL_VARIABLE, Kernel, load_kernel, suitable_levels
from lenet.models.lenet5 import LeNet5
from lenet.training.fit import (
    CHECKPOINTS,
    HISTORY,
    PREDICTIONS,
    WEIGHTS,
    choose_accelerator,
    fit,
    training_seconds,
)
from of_1998 import OF_1998, SDLM

MakeConfig = Callable[..., Config]
SGD = {
    "name": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.001,
    "label_smoothing": 0.0,
    "schedule": {"name": "cosine", "final_fraction": 0.1},
}
needs_kernel = pytest.mark.skipif(not isinstance(load_kernel(), Kernel), reason="there is no fused kernel here")
has_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
WALL_CLOCK = ("seconds", "images_per_second")


def nothing(*_: object) -> None:
    pass


def trained(config: Config, prepared: Path, folder: Path) -> str:
    fit(config, prepared, folder, nothing)
    return sha256_file(folder / WEIGHTS)


def history(folder: Path) -> list[dict[str, float]]:
    """The history without what differs from one training to the next."""
    rows: list[dict[str, float]] = read_json(folder / HISTORY)["epochs"]
    return [{name: value for name, value in row.items() if name not in WALL_CLOCK} for row in rows]


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return make_config()


def test_a_training_leaves_history_weights_and_predictions(config: Config, prepared: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    fit(config, prepared, tmp_path, lambda: calls.append(len(history(tmp_path))))
    rows = read_json(tmp_path / HISTORY)["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    measures = {"train/loss", "train/error", "val/loss", "val/error", "learning_rate", "seconds", "images_per_second"}
    assert set(rows[0]) == measures | {"epoch"}
    assert calls[:2] == [1, 2]  # each epoch is safe when it is told of
    assert rows[1]["train/loss"] < rows[0]["train/loss"]
    assert rows[1]["val/error"] < 50
    assert rows[1]["learning_rate"] == pytest.approx(0.003 * 0.01)
    assert training_seconds(rows) == pytest.approx(rows[0]["seconds"] + rows[1]["seconds"])
    assert rows[0]["images_per_second"] == pytest.approx(500 / rows[0]["seconds"])
    state = load_file(tmp_path / WEIGHTS)
    assert sum(tensor.numel() for name, tensor in state.items() if name.startswith("network.")) == 61_706


def test_predictions_are_those_of_the_weights_on_the_validation_part(
    config: Config, prepared: Path, tmp_path: Path
) -> None:
    sha256 = trained(config, prepared, tmp_path)
    arrays = load_training(prepared)
    _, held_out = split(arrays.order, 500, 200)
    reader = load_network(config, tmp_path / WEIGHTS, sha256)
    logits = predict(reader, arrays.images[held_out])
    with np.load(tmp_path / PREDICTIONS) as kept:
        assert np.array_equal(kept["logits"], logits)
        assert np.array_equal(kept["labels"], arrays.labels[held_out])
        error = 100 * np.mean(kept["logits"].argmax(axis=1) != kept["labels"])
    assert history(tmp_path)[-1]["val/error"] == pytest.approx(error, abs=1e-4)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(arrays.labels[held_out]).long())
    assert history(tmp_path)[-1]["val/loss"] == pytest.approx(float(loss), rel=1e-5)


def test_pixels_are_normalised_as_the_training_part_is(config: Config, prepared: Path, tmp_path: Path) -> None:
    trained(config, prepared, tmp_path)
    state, card = load_file(tmp_path / WEIGHTS), read_card(prepared)
    assert state["field.mean"].flatten().tolist() == pytest.approx(card["mean"], rel=1e-6)
    assert state["field.deviation"].flatten().tolist() == pytest.approx(card["deviation"], rel=1e-6)


def test_twice_gives_the_same_weights_and_another_seed_others(config: Config, prepared: Path, tmp_path: Path) -> None:
    first = trained(config, prepared, tmp_path / "a")
    torch.manual_seed(12345)  # what happened before plays no part
    torch.rand(7)
    assert trained(config, prepared, tmp_path / "b") == first
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert trained(config.with_seed(2), prepared, tmp_path / "c") != first


SCHEDULERS = {
    "an interactive Slurm session": {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train"},
    "a second task of Slurm's": {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "1"},
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
    },
    "MPI": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_schedulers_variables_change_nothing(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    config = make_config(trainer__epochs=1)
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    for name, value in SCHEDULERS[scheduler].items():
        monkeypatch.setenv(name, value)
    fit(config, prepared, tmp_path / scheduler, nothing)
    assert len(history(tmp_path / scheduler)) == 1
    assert (tmp_path / scheduler / WEIGHTS).is_file()


def textbook(config: Config, prepared: Path) -> dict[str, torch.Tensor]:
    """The weights of a run as a bare loop in float64 trains them, with windows cut by hand."""
    arrays, shift = load_training(prepared), config.augmentation.shift
    train, _ = split(arrays.order, config.data.train_size, config.data.validation_size)
    images, labels = arrays.images[train, 0], torch.from_numpy(arrays.labels[train]).long()
    margin = 2 + shift  # of 28 pixels on a field of 32
    padded = np.pad(images.astype(np.float64), ((0, 0), (margin, margin), (margin, margin)))
    padded = (padded / 255 - images.mean() / 255) / (images.std() / 255)
    torch.manual_seed(config.seed)
    network = LeNet5(config.model, (1, 28, 28), 10).double()
    rate, momentum = config.optimizer.learning_rate, config.optimizer.momentum  # type: ignore[union-attr]
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum)
    size = config.trainer.batch_size
    for epoch in range(config.trainer.epochs):
        generator = torch.Generator().manual_seed(1_000_003 * config.seed + epoch)
        order = torch.randperm(len(labels), generator=generator)
        offsets = torch.randint(0, 2 * shift + 1, (len(order), 2), generator=generator)
        shown = np.stack([padded[i, r : r + 32, c : c + 32] for i, (r, c) in zip(order, offsets, strict=True)])
        for start in range(0, len(order), size):
            logits = network(torch.from_numpy(shown[start : start + size]).unsqueeze(1))
            wanted = torch.full_like(logits, config.optimizer.label_smoothing / len(config.data.classes))
            wanted[torch.arange(len(logits)), labels[order[start : start + size]]] += (
                1 - config.optimizer.label_smoothing
            )
            loss = -(wanted * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.state_dict()


@pytest.mark.parametrize(
    "knobs",
    [
        {"seed": 2, "augmentation__shift": 0, "trainer__epochs": 1},
        {"seed": 3, "augmentation__shift": 2},
    ],
)
def test_weights_are_those_of_a_bare_loop(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, knobs: dict[str, Any]
) -> None:
    sgd = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0}
    sgd |= {"label_smoothing": 0.1, "schedule": {"name": "constant"}}
    config = make_config(optimizer=sgd, data__train_size=120, **knobs)
    trained(config, prepared, tmp_path)
    found = load_file(tmp_path / WEIGHTS)
    expected = textbook(config, prepared)
    assert {name.removeprefix("network.") for name in found if name.startswith("network.")} == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[f"network.{name}"].double(), tensor, rtol=0, atol=2e-5)


def test_another_seed_or_shift_has_other_weights_from_the_first_step_on(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    # A rate of next to nothing leaves the weights as they were drawn.
    still = {"optimizer__learning_rate": 1e-12, "trainer__epochs": 1}
    drawn = {}
    for seed in (1, 2):
        config = make_config(seed=seed, **still)
        trained(config, prepared, tmp_path / f"{seed}")
        drawn[seed] = load_file(tmp_path / f"{seed}" / WEIGHTS)["network.f5.1.weight"]
        torch.manual_seed(seed)
        assert torch.allclose(drawn[seed], LeNet5(config.model, (1, 28, 28), 10).f5[1].weight, atol=1e-9)  # type: ignore[index]
    assert (drawn[1] - drawn[2]).abs().max() > 0.01
    unmoved = trained(make_config(augmentation__shift=0, trainer__epochs=1), prepared, tmp_path / "unmoved")
    assert trained(make_config(augmentation__shift=1, trainer__epochs=1), prepared, tmp_path / "moved") != unmoved


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"model__normalization": "batch", "model__activation": "relu", "model__pooling": "max"},
        {"optimizer__name": "adamw", "optimizer__weight_decay": 0.01},
        {"trainer__precision": "bf16", "trainer__kernel": "torch"},
    ],
)
@pytest.mark.parametrize("stop_after", [1, 3])
def test_interrupted_it_goes_on_to_bit_identical_weights(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, knobs: dict[str, Any], stop_after: int
) -> None:
    config = make_config(trainer__epochs=3, **knobs)
    whole = trained(config, prepared, tmp_path / "whole")
    folder = tmp_path / "interrupted"
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(config, prepared, folder, stop)
    assert len(history(folder)) == stop_after
    assert not (folder / WEIGHTS).exists()
    torch.rand(3)
    more: list[int] = []
    fit(config, prepared, folder, lambda: more.append(len(history(folder))))
    assert sha256_file(folder / WEIGHTS) == whole
    assert history(folder) == history(tmp_path / "whole")
    assert more[: 3 - stop_after] == list(range(stop_after + 1, 4))  # no epoch is trained twice
    assert sha256_file(folder / PREDICTIONS) == sha256_file(tmp_path / "whole" / PREDICTIONS)


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_fused_kernel_gives_the_same_bits_for_any_threads_and_processor(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalization: str
) -> None:
    if not suitable_levels():
        pytest.skip("no kernel is for this processor")
    knobs = {"trainer__kernel": "fused", "model__normalization": normalization, "trainer__batch_size": 90}
    expected = trained(make_config(**knobs), prepared, tmp_path / "one thread")
    for level, threads in itertools.product(suitable_levels(), (1, 2, 4)):
        monkeypatch.setenv(LEVEL_VARIABLE, level.name)
        load_kernel.cache_clear()
        folder = tmp_path / f"{level.name} {threads}"
        assert trained(make_config(**knobs, trainer__threads=threads), prepared, folder) == expected
        assert history(folder) == history(tmp_path / "one thread")
        assert sha256_file(folder / PREDICTIONS) == sha256_file(tmp_path / "one thread" / PREDICTIONS)
    load_kernel.cache_clear()


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_early_stopping_ends_after_its_patience_and_a_resumed_run_at_the_same_epoch(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, stop_after: int
) -> None:
    # At a rate of next to nothing the error stays: the first epoch is the best, and two do not improve on it.
    knobs = {"optimizer__learning_rate": 1e-9, "trainer__epochs": 9, "trainer__early_stopping__patience": 2}
    whole = trained(make_config(**knobs), prepared, tmp_path / "whole")
    assert len(history(tmp_path / "whole")) == 3
    assert read_json(tmp_path / "whole" / HISTORY)["stopped_early"] is True
    folder = tmp_path / "interrupted"

    def stop() -> None:
        if len(history(folder)) == stop_after:
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(make_config(**knobs), prepared, folder, stop)
    assert trained(make_config(**knobs), prepared, folder) == whole
    assert history(folder) == history(tmp_path / "whole")


def test_a_falling_error_stops_nothing(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    knobs = {"trainer__epochs": 3, "trainer__early_stopping__patience": 3}
    trained(make_config(**knobs), prepared, tmp_path)
    assert len(history(tmp_path)) == 3
    assert "stopped_early" not in read_json(tmp_path / HISTORY)


def test_a_damaged_checkpoint_costs_an_epoch_and_changes_nothing(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, said: list[str]
) -> None:
    config = make_config(trainer__epochs=3)
    whole = trained(config, prepared, tmp_path / "whole")
    folder = tmp_path / "interrupted"

    def stop() -> None:
        if len(history(folder)) == 2:
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(config, prepared, folder, stop)
    newest = max((folder / CHECKPOINTS).iterdir())
    newest.write_bytes(newest.read_bytes()[:-3])
    assert trained(config, prepared, folder) == whole
    assert len(said) == 1
    assert said[0].startswith(str(newest))


def stopping(seconds: float) -> Callable[[], None]:
    """Return what sends this process SIGINT so many seconds after it is first called."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))

    def start() -> None:
        if not timer.ident:
            timer.start()

    return start


def test_a_signal_ends_it_after_the_step_and_the_last_epoch_is_safe(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    config = make_config(trainer__epochs=5000)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped) as caught:
        fit(config, prepared, tmp_path, stopping(0.2))
    assert caught.value.signum == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) == before
    assert 1 <= len(history(tmp_path)) < 5000
    assert list((tmp_path / CHECKPOINTS).glob("*.ckpt"))
    assert not (tmp_path / WEIGHTS).exists()


def test_history_knows_of_the_epochs_that_an_interruption_saved(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    # The epochs since the first half second are done but not due when the signal comes.
    config = make_config(trainer__epochs=5000, trainer__checkpoint_seconds=0.5)
    with pytest.raises(Stopped):
        fit(config, prepared, tmp_path, stopping(0.2))
    newest = max((tmp_path / CHECKPOINTS).glob("*.ckpt"))
    assert len(history(tmp_path)) == int(newest.name.split("-")[1])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_epochs_ends_it(
    config: Config, prepared: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    def note() -> None:
        if len(history(tmp_path)) == 1:
            os.kill(os.getpid(), signum)

    with pytest.raises(Stopped) as caught:
        fit(config, prepared, tmp_path, note)
    assert caught.value.signum == signum
    assert len(history(tmp_path)) == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_last_step_is_not_forgotten(
    config: Config, prepared: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    asked: list[int] = []

    def note() -> None:
        if len(history(tmp_path)) == 2 and not asked:
            asked.append(2)
            os.kill(os.getpid(), signum)

    with pytest.raises((Stopped, KeyboardInterrupt)):
        fit(config, prepared, tmp_path, note)


def test_checkpoints_are_taken_when_they_are_due(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    config = make_config(trainer__epochs=4, trainer__checkpoint_seconds=1000.0)
    fit(config, prepared, tmp_path, lambda: calls.append(len(history(tmp_path))))
    assert set(calls) == {4}
    assert [path.name[:11] for path in (tmp_path / CHECKPOINTS).iterdir()] == ["epoch-00004"]
    often = make_config(trainer__epochs=4)
    assert trained(often, prepared, tmp_path / "often") == sha256_file(tmp_path / WEIGHTS)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_loss_that_is_not_finite_fails_without_weights(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, activation: str
) -> None:
    sgd = {"name": "sgd", "learning_rate": 100.0, "momentum": 0.99, "nesterov": False, "weight_decay": 10.0}
    sgd |= {"label_smoothing": 0.0, "schedule": {"name": "constant"}}
    config = make_config(optimizer=sgd, model__activation=activation, trainer__epochs=20)
    with pytest.raises(RunFailedError, match=r"^the loss is not finite in epoch \d+; lower optimizer\.learning_rate"):
        fit(config, prepared, tmp_path, nothing)
    assert not (tmp_path / WEIGHTS).exists()
    assert not (tmp_path / PREDICTIONS).exists()
    if (tmp_path / HISTORY).exists():
        assert all(math.isfinite(value) for row in history(tmp_path) for value in row.values())


def test_without_validation(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    config = make_config(data__validation_size=0, data__train_size=None)
    trained(config, prepared, tmp_path)
    assert set(history(tmp_path)[-1]) == {"epoch", "train/loss", "train/error", "learning_rate"}
    assert not (tmp_path / PREDICTIONS).exists()
    row = read_json(tmp_path / HISTORY)["epochs"][-1]
    assert row["images_per_second"] * row["seconds"] == pytest.approx(700)


def test_bf16_trains_and_keeps_fp32_weights(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    sha256 = trained(make_config(trainer__precision="bf16", trainer__kernel="torch"), prepared, tmp_path / "bf16")
    assert sha256 != trained(make_config(), prepared, tmp_path / "fp32")
    assert {tensor.dtype for tensor in load_file(tmp_path / "bf16" / WEIGHTS).values()} == {torch.float32}
    found, expected = history(tmp_path / "bf16")[-1], history(tmp_path / "fp32")[-1]
    assert found["train/loss"] == pytest.approx(expected["train/loss"], rel=0.1)


@pytest.fixture
def threads() -> Iterator[int]:
    """The number of torch's threads, put back at the end."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_threads_are_those_that_were_asked_for(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, threads: int
) -> None:
    seen: list[int] = []
    config = make_config(trainer__threads=threads + 1, trainer__epochs=1)
    fit(config, prepared, tmp_path, lambda: seen.append(torch.get_num_threads()))
    assert set(seen) == {threads + 1}


def test_threads_of_one_run_are_not_those_of_the_next(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, threads: int
) -> None:
    trained(make_config(trainer__threads=threads + 1, trainer__epochs=1), prepared, tmp_path)
    assert torch.get_num_threads() == threads


def test_the_training_part_can_be_no_larger_than_there_is(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^data\.train_size=501: must be 1 to 500"):
        fit(make_config(data__train_size=501), prepared, tmp_path, nothing)
    assert not (tmp_path / WEIGHTS).exists()


def test_a_damaged_data_set_is_not_trained_on(config: Config, project: Any, tmp_path: Path) -> None:
    prepared = project.prepared("tiny")
    path = prepared / "train" / "images.npy"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"train/images\.npy: sha256 is .*run: lenet prepare tiny"):
        fit(config, prepared, tmp_path / "run", nothing)


def test_two_processes_train_about_as_one_does(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    environment = dict(os.environ)
    trained(make_config(trainer__devices=2, trainer__kernel="torch"), prepared, tmp_path / "two")
    trained(make_config(trainer__kernel="torch"), prepared, tmp_path / "one")
    two, one = history(tmp_path / "two"), history(tmp_path / "one")
    assert [row["epoch"] for row in two] == [1, 2]
    for row, expected in zip(two, one, strict=True):
        # The same batches, summed in another order: gradients differ in their last bits.
        assert row["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-3)
        assert row["val/loss"] == pytest.approx(expected["val/loss"], rel=1e-2)
        assert row["learning_rate"] == expected["learning_rate"]
    first, second = load_file(tmp_path / "two" / WEIGHTS), load_file(tmp_path / "one" / WEIGHTS)
    assert first.keys() == second.keys()
    torch.testing.assert_close(first["network.c1.0.weight"], second["network.c1.0.weight"], rtol=0.05, atol=0.01)
    kept = {name: value for name, value in os.environ.items() if name in environment}
    assert kept == environment
    assert "MASTER_PORT" not in os.environ
    assert not torch.distributed.is_initialized()


@needs_kernel
def test_the_network_of_1998_learns_and_resumes_to_the_same_bits(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    config = make_config(model=OF_1998, optimizer=SDLM, trainer__batch_size=1, trainer__epochs=4)
    whole = trained(config, prepared, tmp_path / "whole")
    errors = [row["val/error"] for row in history(tmp_path / "whole")]
    assert errors[-1] < 5
    folder = tmp_path / "interrupted"

    def stop() -> None:
        if len(history(folder)) == 2:
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(config, prepared, folder, stop)
    assert trained(config, prepared, folder) == whole
    assert [row["val/error"] for row in history(folder)] == errors


@needs_kernel
@pytest.mark.parametrize("loss", ["rbf_mean", "rbf_map", "cross_entropy"])
def test_kernel_and_torch_train_the_network_of_1998_alike(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, loss: str
) -> None:
    model = OF_1998 | {"loss": loss, "initialization": "xavier"}
    optimizer = SGD | {"learning_rate": 0.001, "nesterov": False}
    rows = []
    for kernel in ("fused", "torch"):
        config = make_config(model=model, optimizer=optimizer, trainer__kernel=kernel, trainer__epochs=2)
        trained(config, prepared, tmp_path / kernel)
        rows.append(history(tmp_path / kernel)[-1])
    assert rows[0]["train/loss"] == pytest.approx(rows[1]["train/loss"], rel=1e-3)
    assert rows[0]["val/loss"] == pytest.approx(rows[1]["val/loss"], rel=5e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_a_gpu_where_there_is_none_is_one_line(
    make_config: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    config = make_config(trainer__accelerator="gpu")
    message = r"^trainer\.accelerator=gpu: torch finds no CUDA device here; use trainer=cpu or trainer=auto$"
    with pytest.raises(ConfigError, match=message):
        fit(config, prepared, tmp_path / "run", nothing)
    assert not (tmp_path / "run").exists()
    assert choose_accelerator(make_config(trainer__accelerator="auto")) == "cpu"


def test_the_cpu_is_taken_where_it_is_asked_for(make_config: MakeConfig) -> None:
    assert choose_accelerator(make_config(trainer__accelerator="cpu", trainer__devices=2)) == "cpu"


@pytest.mark.gpu
@has_gpu
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"trainer__precision": "bf16"},
        {"model__normalization": "batch", "model__activation": "relu", "model__pooling": "max"},
        {"trainer__accumulate": 2, "trainer__gradient_clip": 0.5},
        {"optimizer": SGD},
    ],
)
def test_recorded_steps_train_to_the_same_bits(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, knobs: dict[str, Any]
) -> None:
    weights = []
    for graphs in (True, False):
        config = make_config(
            trainer__accelerator="gpu",
            trainer__kernel="torch",
            trainer__epochs=3,
            trainer__batch_size=4,
            trainer__cuda_graphs=graphs,
            **knobs,
        )
        weights.append(trained(config, prepared, tmp_path / str(graphs)))
    assert weights[0] == weights[1]


@pytest.mark.gpu
@has_gpu
def test_a_network_that_cannot_be_recorded_is_one_line(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    config = make_config(trainer__accelerator="gpu", trainer__kernel="torch", trainer__epochs=2, trainer__batch_size=4)

    def read_a_value(module: nn.Module, arguments: Any, result: torch.Tensor) -> None:
        float(result.sum())

    handle = nn.modules.module.register_module_forward_hook(read_a_value)
    try:
        with pytest.raises(
            ConfigError, match=r"cannot be recorded as a CUDA graph \(.+\); use trainer.cuda_graphs=false"
        ):
            fit(config, prepared, tmp_path / "run", nothing)
    finally:
        handle.remove()


@pytest.mark.gpu
@has_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_twice_to_the_same_weights(
    make_config: MakeConfig, prepared: Path, tmp_path: Path, precision: str
) -> None:
    config = make_config(trainer__accelerator="gpu", trainer__kernel="torch", trainer__precision=precision)
    assert choose_accelerator(config) == "gpu"
    first = trained(config, prepared, tmp_path / "a")
    assert trained(config, prepared, tmp_path / "b") == first
    cpu = make_config(trainer__kernel="torch", trainer__precision=precision)
    trained(cpu, prepared, tmp_path / "cpu")
    assert history(tmp_path / "a")[0]["train/loss"] == pytest.approx(
        history(tmp_path / "cpu")[0]["train/loss"], rel=0.02
    )


@pytest.mark.gpu
@has_gpu
def test_a_gpu_resumes_to_bit_identical_weights(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    config = make_config(
        trainer__accelerator="gpu", trainer__kernel="torch", model__normalization="batch", trainer__epochs=3
    )
    whole = trained(config, prepared, tmp_path / "whole")
    folder = tmp_path / "interrupted"

    def stop() -> None:
        if len(history(folder)) == 1:
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(config, prepared, folder, stop)
    assert trained(config, prepared, folder) == whole


@pytest.mark.gpu
@has_gpu
def test_auto_takes_the_gpu_and_more_than_there_are_is_one_line(make_config: MakeConfig) -> None:
    assert choose_accelerator(make_config(trainer__accelerator="auto", trainer__kernel="auto")) == "gpu"
    with pytest.raises(ConfigError, match=r"^trainer\.devices=50: torch finds \d+ CUDA device\(s\) here$"):
        choose_accelerator(make_config(trainer__accelerator="gpu", trainer__kernel="torch", trainer__devices=50))
