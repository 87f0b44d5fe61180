from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

import pytest

from lenet.config import networks
from lenet.config.networks import NETWORKS, ModelConfig, Network, builder, builder_module, config_class
from lenet.config.schema import parse_config
from lenet.core.errors import ConfigError


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_table_has_its_knobs_and_its_builder(name: str) -> None:
    assert issubclass(config_class(name), ModelConfig)
    assert is_dataclass(config_class(name))
    assert builder(name).__module__ == builder_module(name)


def test_a_network_is_parsed_by_the_dataclass_that_the_table_names(
    make_tree: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "base", Network("lenet.config.networks.ModelConfig", "torch.nn.Identity"))
    assert parse_config(make_tree(model={"name": "base"})).model == ModelConfig("base")
    with pytest.raises(ConfigError, match=r"^model\.depth: no such key; model's keys are name"):
        parse_config(make_tree(model={"name": "base", "depth": 3}))
    with pytest.raises(
        ConfigError, match=r"model\.name=bade: must be one of lenet5, lenet5_1998, base \(did you mean 'base'\?\)"
    ):
        parse_config(make_tree(model={"name": "bade"}))


def test_lenet5s_knobs_are_parsed_without_torch(make_tree: Callable[..., dict[str, Any]]) -> None:
    code = (
        "import json, sys; from lenet.config.schema import parse_config; parse_config(json.loads(sys.argv[1]));"
        " print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, json.dumps(make_tree())]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
