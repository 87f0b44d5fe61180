"""The knobs of the LeNet-5 of 1998; free of torch, since every command that reads a config parses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from lenet.config.networks import ModelConfig
from lenet.config.validation import Bounds
from lenet.core.errors import ConfigError


@dataclass(frozen=True)
class LeNet5Of1998Config(ModelConfig):
    """LeNet-5 as the paper has it (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), 1998), by its ingredients."""

    name: Literal["lenet5_1998"]
    """60,000 parameters with the paper's ingredients, on grey images of up to 32×32 pixels."""
    connections: Literal["sparse", "full"]
    """Maps of S2 that each map of C3 takes: those of the paper's Table I, or all six."""
    subsampling: Literal["trainable", "average", "max"]
    """S2 and S4: the sum of 2×2 times a coefficient, plus a bias, squashed (Section II-B); or a mean, or a maximum."""
    activation: Literal["scaled_tanh", "tanh", "sigmoid", "relu"]
    """After every layer but the last; scaled_tanh is 1.7159·tanh(2a/3) (Appendix A)."""
    output: Literal["rbf", "linear"]
    """Squared distances of F6 from fixed 7×12 bitmaps of the ten digits, the smallest wins; or a linear layer."""
    loss: Literal["rbf_mean", "rbf_map", "cross_entropy"]
    """The right class's distance (equation 8); the discriminative one (equation 9); cross entropy of the logits, which
    are the distances with a minus."""
    penalty: Annotated[float, Bounds(low=0, high=1000)]
    """j of equation 9: how far from every bitmap an image has to be to be none of the digits."""
    initialization: Literal["fan_in_root", "fan_in", "xavier"]
    """Initial weights: uniform in ±2.4/√(fan-in); in ±2.4/fan-in, as Section III is printed, from where the paper's
    learning rates diverge; or Glorot and Bengio's (2010). Biases are 0."""
    input_scale: Literal["paper", "standard"]
    """Paper: background -0.1, ink 1.175 (Section II-B). Standard: mean 0 and variance 1 over the training pixels."""

    def __post_init__(self) -> None:
        """Check that output and loss fit each other.

        Raises:
            ConfigError: they do not.
        """
        if self.output == "linear" and self.loss != "cross_entropy":
            raise ConfigError(
                f"model.loss={self.loss}: is one of distances; model.output=linear needs model.loss=cross_entropy"
            )
