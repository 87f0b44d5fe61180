"""Hydra's entry point: `python train.py` trains one run, `python train.py -m model.activation=tanh,relu` two.

Finished runs are answered from their folders, interrupted ones go on. `python train.py --help` shows the knobs.
"""

import hydra
from omegaconf import DictConfig

from lenet.hydra_app.main import run_app, run_job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(tree: DictConfig) -> float | None:
    """Answer one job: the run that the composed config describes."""
    return run_job(tree)


if __name__ == "__main__":
    run_app(train)
