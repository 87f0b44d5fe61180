"""The export stage: the chosen network as an ONNX file that was checked against torch on every test image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.params import Params
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import atomic_write, canonical_json, read_json, sha256_file, write_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.paths import BUILT_TRAIN, EVALUATION, SIZE_METRICS
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.export.onnx_file import OPSET, export_onnx
from lenet.pipeline.dvc_metrics import write_metrics
from lenet.runs.run_dir import RunDir

if TYPE_CHECKING:
    from lenet.evaluation.onnx_parity import Agreement
    from lenet.models.preprocessing import Classifier

BUILT_EXPORT = Path("build/export/lenet5.onnx")
EXPORT = Path("results/export.json")
WEIGHTS = "weights.safetensors"
KIBIBYTE = 1024


@dataclass(frozen=True)
class ExportedModel:
    """A trained network that can be exported.

    Attributes:
        config: its config.
        fingerprint: of its run.
        data_digest: of what it was trained on.
        weights: its weights file.
        weights_sha256: that file's digest, on record.
    """

    config: Config
    fingerprint: str
    data_digest: str
    weights: Path
    weights_sha256: str

    def load(self) -> Classifier:
        """Return the network.

        Raises:
            DamagedError: its weights file is missing or not the one on record.
        """
        from lenet.evaluation.predict import load_reader

        return load_reader(self.config, self.weights, self.weights_sha256)


def read_chosen(project: Project) -> ExportedModel:
    """Return the network that results/evaluation.json names, as the training stage left it.

    Raises:
        DamagedError: that file, or what the training stage left, is missing or damaged.
        LenetError: the training stage has no such run.
    """
    choice = _read(project.root / EVALUATION)["choice"]
    folder = project.root / BUILT_TRAIN / choice["variant"]
    for run in _read(folder / "runs.json")["runs"]:
        if run["seed"] == choice["seed"]:
            config = parse_config(run["config"])
            digest = training_digest(project.prepared(config.data.name))
            weights = folder / f"seed-{run['seed']}" / WEIGHTS
            return ExportedModel(config, run["fingerprint"], digest, weights, run["weights_sha256"])
    raise LenetError(f"{folder / 'runs.json'}: has no run with seed {choice['seed']}; `dvc repro evaluate` makes it")


def read_run(folder: RunDir) -> ExportedModel:
    """Return the network of a finished run; raises DamagedError where the folder is damaged."""
    digest = folder.status()["files"][WEIGHTS]
    return ExportedModel(
        folder.config(), folder.fingerprint, folder.identity()["data_digest"], folder.path / WEIGHTS, digest
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing; `dvc repro evaluate` makes it") from error


def export_champion(project: Project, params: Params, tell: Callable[[str], None]) -> None:
    """Write the chosen network as build/export/lenet5.onnx, and what it weighs and takes to results/export.json.

    Raises:
        DamagedError: weights or data are missing or damaged.
        LenetError: onnxruntime reads it otherwise than torch; nothing is written then.
    """
    trained = read_chosen(project)
    path = project.root / BUILT_EXPORT
    reader = trained.load()
    agreement = export_checked(project, trained, reader, path)
    body = {
        "model": params.register.model,
        "variant": trained.config.name,
        "seed": trained.config.seed,
        "opset": OPSET,
        "onnx_sha256": sha256_file(path),
        "onnx_bytes": path.stat().st_size,
        "metadata": describe(project, trained),
        "agreement": asdict(agreement),
        **measure(reader, path),
    }
    write_json(project.root / EXPORT, body)
    size = {"parameters": body["parameters"], "onnx_kib": round(body["onnx_bytes"] / KIBIBYTE, 1)}
    write_metrics(project.root / SIZE_METRICS, size)
    tell(
        f"{BUILT_EXPORT}: {trained.config.name} seed {trained.config.seed}, {body['onnx_bytes'] / KIBIBYTE:.0f} KiB,"
        f" reads {agreement.images:,} test digits as torch does"
        f" (logits differ by {agreement.largest_difference:.1e} at most)"
    )


def export_checked(project: Project, trained: ExportedModel, reader: Classifier, path: Path) -> Agreement:
    """Write a network as ONNX, once onnxruntime reads every image of the test set as torch does.

    Raises:
        LenetError: it does not; nothing is written.
    """
    from lenet.evaluation.onnx_parity import TOLERANCE, check_on_test

    with atomic_write(path) as temporary:
        export_onnx(reader, temporary, describe(project, trained))
        found = check_on_test(temporary, reader, project.prepared(trained.config.data.name))
        if not found.holds:
            raise LenetError(
                f"{path}: not written, for onnxruntime reads {found.images - found.same_answers} of {found.images:,}"
                f" test digits otherwise than torch, and logits differ by {found.largest_difference:.1e}"
                f" ({TOLERANCE:.0e} is allowed); other versions of torch, onnxscript or onnxruntime may agree"
            )
    return found


def describe(project: Project, trained: ExportedModel) -> dict[str, str]:
    """Return what the ONNX file says of itself, by the names that the registry's tags have.

    The commit is that of the training; it is empty where the run's folder is not here, and outside git.
    """
    data = trained.config.data
    attempts = RunDir(project.runs / trained.fingerprint).status()["attempts"]
    return {
        "lenet.fingerprint": trained.fingerprint,
        "lenet.weights_sha256": trained.weights_sha256,
        "lenet.data": data.name,
        "lenet.data_digest": trained.data_digest,
        "lenet.labels": canonical_json([str(label) for label in range(data.classes)]),
        "lenet.git_commit": (attempts[-1]["git"]["commit"] or "") if attempts else "",
    }


def measure(reader: Classifier, path: Path) -> dict[str, Any]:
    """Return what the network costs in torch and in onnxruntime: parameters, bytes, milliseconds on one thread."""
    from lenet.evaluation.latency import BATCHES, measure_cost, measure_latency
    from lenet.evaluation.onnx_model import OnnxClassifier

    cost = measure_cost(reader, BATCHES)
    exported = OnnxClassifier(path)
    latencies = {"torch": cost.latencies, "onnxruntime": [measure_latency(exported, images) for images in BATCHES]}
    return {
        "parameters": cost.parameters,
        "weight_bytes": cost.weight_bytes,
        "latency": {
            runtime: {f"images_{found.images}": asdict(found) for found in measured}
            for runtime, measured in latencies.items()
        },
    }


def export_measures(body: Mapping[str, Any]) -> dict[str, float]:
    """Return what of results/export.json is shown as metrics, by their names in MLflow."""
    shown = {"export/onnx_bytes": float(body["onnx_bytes"]), "export/parameters": float(body["parameters"])}
    for runtime, by_images in body["latency"].items():
        shown |= {f"export/{runtime}_{images}_ms": found["median_ms"] for images, found in by_images.items()}
    return shown
