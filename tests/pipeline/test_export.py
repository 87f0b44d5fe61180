"""The export stage, on a run that is really trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from lenet.config.params import Params, read_params
from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, sha256_file, write_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.paths import BUILT_EXPORT, BUILT_TRAIN, EVALUATION, EXPORT, LATENCY
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.evaluation.trained_model import read_chosen
from lenet.export.export_model import export_checked, export_metrics
from lenet.export.onnx_model import TOLERANCE
from lenet.models.classifier import Classifier
from lenet.pipeline.export import export_chosen
from lenet.pipeline.stages import write_variant
from lenet.registry.packaging import log_export, pack_version
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import open_store, tracking_uri


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


@pytest.fixture
def params(project: Project) -> Params:
    return read_params(project)


@pytest.fixture
def trained(project: Project, make_config: Callable[..., Config]) -> RunDir:
    """A trained run that the evaluation chose."""
    config = make_config(trainer__epochs=1)
    digest = training_digest(project.prepared("tiny"))
    folder = get_or_train(project, config, digest, RunMetadata("tiny seed=1")).run_dir
    write_variant(project, config.name, [(config, folder)])
    write_json(project.root / EVALUATION, {"choice": {"variant": config.name, "seed": 1}})
    return folder


def test_the_chosen_network_is_exported_and_described(
    project: Project, params: Params, trained: RunDir, said: list[str]
) -> None:
    export_chosen(project, params)
    path = project.root / BUILT_EXPORT
    body = read_json(project.root / EXPORT)
    assert body["onnx_sha256"] == sha256_file(path)
    assert body["onnx_bytes"] == path.stat().st_size
    assert (body["model"], body["variant"], body["seed"]) == ("lenet5", "tiny_variant", 1)
    agreement = body["agreement"]
    assert agreement["images"] == agreement["same_answers"] == 100
    assert agreement["tolerance"] == TOLERANCE
    assert body["metadata"] == metadata(path)
    assert body["metadata"] == {
        "lenet.fingerprint": trained.fingerprint,
        "lenet.weights_sha256": trained.status()["files"]["weights.safetensors"],
        "lenet.data": "tiny",
        "lenet.data_digest": training_digest(project.prepared("tiny")),
        "lenet.labels": json.dumps([f"pattern {label}" for label in range(10)], separators=(",", ":")),
    }
    assert body["parameters"] == 61_706
    latencies = read_json(project.root / LATENCY)["latency_ms"]
    for runtime in ("torch", "onnxruntime"):
        assert list(latencies[runtime]) == ["images_1", "images_64"]
        for found in latencies[runtime].values():
            assert 0 < found["lower_quartile_ms"] <= found["median_ms"] <= found["upper_quartile_ms"]
            assert found["repeats"] >= 20
    assert set(export_metrics(body, latencies)) == {
        *("export/onnx_bytes", "export/parameters"),
        *(f"export/{runtime}_images_{images}_ms" for runtime in ("torch", "onnxruntime") for images in (1, 64)),
    }
    (line,) = said
    assert "classifies 100 test images as torch does" in line


def test_exporting_again_gives_the_same_file(
    project: Project, params: Params, trained: RunDir, said: list[str]
) -> None:
    path = project.root / BUILT_EXPORT
    contents = []
    for _ in range(2):
        export_chosen(project, params)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


class Fickle(Classifier):
    """Says one thing while it is exported and another afterwards."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (0.0 if torch.compiler.is_exporting() else 1.0)


def test_an_export_that_reads_otherwise_is_not_written(project: Project, trained: RunDir) -> None:
    network = read_chosen(project)
    reader = network.load()
    fickle = Fickle(reader.field, reader.network, reader.image_shape).eval()
    path = project.root / BUILT_EXPORT
    with pytest.raises(
        LenetError, match=r"not written: onnxruntime classifies 0 of 100 .*, and logits differ by 1\.0e\+00"
    ):
        export_checked(project, network, fickle, path)
    assert list(path.parent.iterdir()) == []
    assert export_checked(project, network, reader, path).holds
    assert path.is_file()


def test_a_version_holds_the_file_of_the_stage_or_one_made_anew_to_the_same_bytes(
    project: Project, params: Params, trained: RunDir, said: list[str], tmp_path: Path
) -> None:
    pack_version(project, trained, tmp_path / "before")
    export_chosen(project, params)
    path = project.root / BUILT_EXPORT
    pack_version(project, trained, tmp_path / "after")
    path.write_bytes(path.read_bytes()[:-1])
    pack_version(project, trained, tmp_path / "damaged")
    digests = {sha256_file(tmp_path / name / "model.onnx") for name in ("before", "after", "damaged")}
    assert digests == {read_json(project.root / EXPORT)["onnx_sha256"]}
    assert (tmp_path / "after" / "torch" / "MLmodel").is_file()


def test_a_run_shows_what_its_own_export_takes(
    project: Project, params: Params, trained: RunDir, said: list[str], make_config: Callable[..., Config]
) -> None:
    uri = tracking_uri(project)
    place = RunSync(project, uri, "lenet5").send(trained)
    client = open_store(project, uri)
    log_export(project, place, trained)
    assert "export/onnx_bytes" not in client.get_run(place.run_id).data.metrics
    export_chosen(project, params)
    log_export(project, place, trained)
    shown = client.get_run(place.run_id).data.metrics
    assert shown["export/onnx_bytes"] == (project.root / BUILT_EXPORT).stat().st_size
    other = get_or_train(
        project,
        make_config(trainer__epochs=1, seed=2),
        training_digest(project.prepared("tiny")),
        RunMetadata("tiny seed=2"),
    ).run_dir
    place = RunSync(project, uri, "lenet5").send(other)
    log_export(project, place, other)
    assert "export/onnx_bytes" not in client.get_run(place.run_id).data.metrics


def test_what_is_missing_or_damaged_is_one_line(
    project: Project, params: Params, trained: RunDir, said: list[str]
) -> None:
    weights = project.root / BUILT_TRAIN / "tiny_variant" / "seed-1" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedError, match=r"weights\.safetensors: sha256 is .*; `dvc repro` makes it anew$"):
        export_chosen(project, params)
    write_json(project.root / EVALUATION, {"choice": {"variant": "tiny_variant", "seed": 9}})
    with pytest.raises(LenetError, match=r"runs\.json: has no run with seed 9; `dvc repro evaluate` chooses again$"):
        read_chosen(project)
    write_json(project.root / EVALUATION, {"choice": {"variant": "other", "seed": 1}})
    with pytest.raises(DamagedError, match=r"other/runs\.json: is missing; `dvc repro train@other` makes it"):
        read_chosen(project)
    (project.root / EVALUATION).unlink()
    with pytest.raises(DamagedError, match=r"evaluation\.json: is missing; `dvc repro evaluate` makes it"):
        read_chosen(project)
    assert not (project.root / BUILT_EXPORT).exists()
    assert not (project.root / EXPORT).exists()
