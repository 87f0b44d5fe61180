from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lenet.config.schema import Config
from lenet.core.errors import ConfigError
from lenet.kernels import choice
from lenet.kernels.choice import MAX_NORMALIZED_BATCH, resolve_kernel
from lenet.kernels.library import Missing
from of_1998 import OF_1998, SDLM

MakeConfig = Callable[..., Config]

TORCH_ONLY: dict[str, dict[str, Any]] = {
    "colour": {"data__channels": 3},
    "larger images": {"data__height": 33},
    "many classes": {"data__classes": [f"c{number}" for number in range(33)]},
    "bf16": {"trainer__precision": "bf16"},
    "two processes": {"trainer__devices": 2},
    "ddp": {"trainer__strategy": "ddp"},
    "a GPU": {"trainer__accelerator": "gpu"},
    "a huge batch": {"trainer__batch_size": MAX_NORMALIZED_BATCH + 1, "model__normalization": "batch"},
}


@pytest.mark.parametrize("case", TORCH_ONLY)
def test_torch_trains_what_the_kernel_cannot(make_config: MakeConfig, case: str) -> None:
    knobs = TORCH_ONLY[case]
    assert resolve_kernel(make_config(trainer__kernel="auto", **knobs)).trainer.kernel == "torch"
    with pytest.raises(ConfigError, match=r"^trainer\.kernel=fused: .*; use trainer\.kernel=auto or torch$"):
        resolve_kernel(make_config(trainer__kernel="fused", **knobs))


@pytest.mark.parametrize("kernel", ["auto", "fused"])
def test_the_kernel_trains_what_it_can(make_config: MakeConfig, kernel: str) -> None:
    config = make_config(trainer__kernel=kernel)
    assert resolve_kernel(config).trainer.kernel == "fused"
    assert resolve_kernel(resolve_kernel(config)) == resolve_kernel(config)
    assert resolve_kernel(make_config(trainer__kernel="torch")).trainer.kernel == "torch"


def test_an_optimizer_that_is_in_the_kernel_alone_is_refused_without_it(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "load_kernel", lambda: Missing("there is none for this processor, VAX"))
    config = make_config(model=OF_1998, optimizer=SDLM, trainer__kernel="auto")
    with pytest.raises(ConfigError, match=r"^optimizer=sdlm: takes its steps in the fused kernel alone, and .*VAX"):
        resolve_kernel(config)


def test_where_no_kernel_can_be_loaded_torch_trains_and_a_line_says_so(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(choice, "load_kernel", lambda: Missing("there is none for this processor, VAX"))
    choice._warn.cache_clear()
    config = make_config(trainer__kernel="auto")
    assert [resolve_kernel(config).trainer.kernel for _ in range(2)] == ["torch", "torch"]
    assert [line for line in said if "VAX" in line] == said[-1:]
    with pytest.raises(ConfigError, match="VAX"):
        resolve_kernel(make_config(trainer__kernel="fused"))
    choice._warn.cache_clear()
