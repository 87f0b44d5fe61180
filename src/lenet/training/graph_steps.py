"""Steps in torch on one GPU, recorded as a CUDA graph and replayed: a chunk of mini-batches is one launch.

Taken one by one, LeNet-5's kernels are so short that a GPU waits for Python most of the time (PyTorch documentation,
"CUDA Graphs").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lenet.config.schema import Config
from lenet.core.errors import ConfigError
from lenet.data.loader import BatchChunk
from lenet.models.classifier import Classifier
from lenet.training.steps import Backward, TorchSteps


@dataclass(frozen=True)
class _Recording:
    """A chunk's steps: a replay reads the tensors of `chunk` and `rates`, and writes `loss` and `logits`."""

    graph: torch.cuda.CUDAGraph
    chunk: BatchChunk
    rates: Tensor
    loss: Tensor
    logits: Tensor


class GraphSteps(TorchSteps):
    """The kernels of `TorchSteps` in the same order, and so the same bits.

    The first chunk of each size is not recorded: in it the optimizer makes its state, and the libraries their handles.

    Args:
        config: the run.
        classifier: the network with its preprocessing, which must not depend on values that Python would have to read.
    """

    def __init__(self, config: Config, classifier: Classifier) -> None:
        super().__init__(config, classifier)
        self._stream = torch.cuda.Stream()
        self._recordings: dict[int, _Recording | None] = {}

    def train(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> tuple[Tensor, Tensor]:
        """See `Steps`; what is returned is overwritten by the next chunk.

        Raises:
            ConfigError: the network's steps cannot be recorded.
        """
        caller, size = torch.cuda.current_stream(), len(chunk.labels)
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            if size not in self._recordings:
                self._recordings[size] = None
                result = super().train(chunk, rates, backward)
            else:
                recording = self._recordings[size] or self._record(chunk, rates, backward)
                self._recordings[size] = recording
                result = _replay(recording, chunk, rates)
        caller.wait_stream(self._stream)
        return result

    def _record(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> _Recording:
        static = replace(
            chunk, indices=chunk.indices.clone(), offsets=chunk.offsets.clone(), labels=chunk.labels.clone()
        )
        static_rates = self.rate_tensor(rates)
        for group in self.optimizers[0].param_groups:
            if "capturable" in group:  # Adam refuses to be recorded without this word
                group["capturable"] = True
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                loss, logits = self.take(static, static_rates, backward)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"the network's steps cannot be recorded as a CUDA graph ({reason}); use trainer.cuda_graphs=false"
            ) from error
        return _Recording(graph, static, static_rates, loss, logits)


def _replay(recording: _Recording, chunk: BatchChunk, rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    recording.chunk.indices.copy_(chunk.indices)
    recording.chunk.offsets.copy_(chunk.offsets)
    recording.chunk.labels.copy_(chunk.labels)
    recording.rates.copy_(torch.tensor(rates))
    recording.graph.replay()
    return recording.loss, recording.logits
