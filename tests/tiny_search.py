"""A search of seconds, as conf/search/tiny.yaml would have it."""

from typing import Any

TINY: dict[str, Any] = {
    "name": "tiny",
    "base": ["experiment=lenet5_relu", "data=tiny", "trainer.batch_size=50"],
    "objectives": ["val/error"],
    "limits": {"parameters": None, "latency_ms": None},
    "sampler": "random",
    "startup_trials": 2,
    "pruner": "none",
    "reduction_factor": 2,
    "first_epoch": 1,
    "epochs": 2,
    "trials": 4,
    "minutes": None,
    "workers": 1,
    "parallel_trials": 2,
    "seed": 1,
    "storage": None,
    "space": {"optimizer": {"learning_rate": {"low": 0.001, "high": 0.02, "log": True}}},
}
