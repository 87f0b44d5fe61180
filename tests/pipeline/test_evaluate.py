from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, sha256_file, write_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.data.arrays import load_test, read_card
from lenet.evaluation.metrics import exact_interval, negative_log_likelihood
from lenet.evaluation.plots.quality import draw_quality
from lenet.evaluation.stats.images_and_seeds import compare_recipes, error_interval
from lenet.evaluation.trained_model import read_variant
from lenet.models.classifier import build_classifier
from lenet.pipeline.evaluate import evaluate
from lenet.runs.run_dir import RunDir

ERRORS = {"first": {1: 3.0, 2: 2.0}, "second": {1: 2.5, 2: 2.25}}
CONFIDENCE = 0.9


class Stage:
    """What training left for the evaluation: two variants with two seeds of networks that were never trained."""

    def __init__(self, project: Project, make_config: Callable[..., Config]) -> None:
        self.project = project
        self.baseline = "first"
        self.built = project.root / "build" / "train"
        self.predictions = project.root / "build" / "predictions"
        self.plots = project.root / "results" / "plots"
        for number, (variant, errors) in enumerate(ERRORS.items()):
            entries = []
            for seed, error in errors.items():
                config = make_config(name=variant, seed=seed)
                path = self.built / variant / f"seed-{seed}" / "weights.safetensors"
                path.parent.mkdir(parents=True)
                torch.manual_seed(10 * number + seed)
                save_file(build_classifier(config, [0.4], [0.3]).state_dict(), path)
                entry: dict[str, Any] = {"seed": seed, "fingerprint": f"{number}{seed}" * 32, "config": config.tree()}
                entry |= {"data_digest": "0" * 64, "epochs": 1}
                entries.append(
                    entry
                    | {
                        "weights_sha256": sha256_file(path),
                        "measures": {"val/error": error},
                        "trained_by": f"kernel {seed}",
                    }
                )
            write_json(self.built / variant / "runs.json", {"variant": variant, "runs": entries})
        self.trained = {variant: read_variant(project, variant) for variant in ERRORS}

    def __call__(self) -> dict[str, Any]:
        body, self.qualities = evaluate(self.project, "tiny", self.trained, CONFIDENCE, self.baseline)
        return body


@pytest.fixture
def stage(project: Project, make_config: Callable[..., Config]) -> Stage:
    return Stage(project, make_config)


def test_every_network_reads_the_test_set_and_the_choice_is_made_on_validation(stage: Stage) -> None:
    body = stage()
    images, labels = load_test(stage.project.prepared("tiny"))
    assert body["choice"]["variant"] == "second"  # 2.375 on validation, against 2.5
    assert body["choice"]["seed"] == 2
    assert (body["data"], body["images"], body["confidence"]) == ("tiny", len(images), CONFIDENCE)
    assert body["test_digest"] == read_card(stage.project.prepared("tiny"))["test_digest"]
    misread = {}
    for variant, errors in ERRORS.items():
        found = body["variants"][variant]
        assert [row["seed"] for row in found["runs"]] == list(errors)
        shown = []
        for row in found["runs"]:
            logits = np.load(stage.predictions / variant / f"seed-{row['seed']}.npy")
            wrong = int((logits.argmax(axis=1) != labels).sum())
            shown.append(100 * wrong / len(labels))
            assert (row["misclassified"], row["error"]) == (wrong, pytest.approx(shown[-1]))
            assert row["interval"] == pytest.approx(exact_interval(wrong, len(labels), CONFIDENCE), abs=1e-4)
            assert row["loss"] == pytest.approx(negative_log_likelihood(logits, labels), abs=1e-6)
        assert found["test_error"]["mean"] == pytest.approx(np.mean(shown))
        assert found["test_error"]["deviation"] == pytest.approx(np.std(shown, ddof=1))
        assert found["test_error"]["n"] == 2
        assert found["validation_error"]["mean"] == pytest.approx(np.mean(list(errors.values())))
        wrong = np.stack([np.load(stage.predictions / variant / f"seed-{seed}.npy") for seed in errors])
        misread[variant] = wrong.argmax(axis=2) != labels
        assert found["interval"] == pytest.approx(error_interval(misread[variant], CONFIDENCE), abs=1e-4)
    (pair,) = stage.qualities["pairs"]
    assert (pair["a"], pair["b"]) == ("first", "second")
    expected = compare_recipes(misread["first"], misread["second"], CONFIDENCE)
    assert pair["difference"] == pytest.approx(100 * (misread["first"].mean() - misread["second"].mean()))
    assert (pair["seeds"], pair["p"], pair["holm_p"]) == ([2, 2], expected.p, expected.p)
    against = body["against_baseline"]  # the chosen one minus the baseline
    assert (against["baseline"], against["seeds"], against["p"]) == ("first", [2, 2], pytest.approx(expected.p))
    assert against["interval"] == pytest.approx([-expected.high, -expected.low], abs=1e-6)
    assert against["difference"] == pytest.approx(-pair["difference"])
    assert body["trained_by"] == ["kernel 1", "kernel 2"]
    for variant in ERRORS:
        found = stage.qualities["networks"][variant]
        assert [one["seed"] for one in found] == [1, 2]
        assert body["variants"][variant]["calibration_error"]["mean"] == pytest.approx(
            np.mean([one["calibration_error"] for one in found])
        )
        assert sum(one["images"] for one in found[0]["recalls"]) == len(labels)
        assert {one["distortion"] for one in found[0]["robustness"]} >= {"shift", "rotation", "shear", "scale"}
    pictures = ("test_errors.png", "confusion_matrix.png", "misclassified.png")
    for name in (*pictures, "reliability.png", "recall.png", "robustness.png"):
        assert (stage.plots / name).read_bytes().startswith(b"\x89PNG")


def test_the_pictures_say_the_confidence_that_was_asked_for(stage: Stage, tmp_path: Path) -> None:
    body, images = stage(), {}
    for confidence in (CONFIDENCE, 0.95):
        classes = stage.trained["first"][0].config.data.classes
        draw_quality(tmp_path, stage.qualities["networks"], body["choice"]["variant"], classes, confidence)
        images[confidence] = (tmp_path / "recall.png").read_bytes()
    assert images[CONFIDENCE] == (stage.plots / "recall.png").read_bytes() != images[0.95]


def test_twice_gives_the_same_and_the_run_folders_that_are_here_keep_it(stage: Stage) -> None:
    folder = RunDir(stage.project.runs / ("01" * 32))
    folder.write("status.json", {"state": "FINISHED", "message": "", "attempts": [], "files": {}})
    first = stage()
    written = {path: path.read_bytes() for path in stage.predictions.rglob("*.npy")}
    assert len(written) == 4
    row, path = first["variants"]["first"]["runs"][0], folder.path / "evaluation.json"
    kept = read_json(path)
    assert kept["measures"] == {"test/error": row["error"], "test/loss": row["loss"]}
    assert kept["interval"] == row["interval"]
    assert [one.name for one in stage.project.runs.iterdir()] == [folder.fingerprint]
    (stage.predictions / "old").mkdir()
    assert stage() == first
    assert {path: path.read_bytes() for path in stage.predictions.rglob("*.npy")} == written
    assert not (stage.predictions / "old").exists()
    assert read_json(path) == kept  # the same answer is not a new one
    path.write_text("{")
    stage()
    assert read_json(path)["measures"] == kept["measures"]


def test_the_baseline_is_not_compared_with_itself(stage: Stage) -> None:
    stage.baseline = "second"
    assert stage()["against_baseline"] is None


def test_damaged_weights_are_not_evaluated(stage: Stage) -> None:
    path = stage.built / "second" / "seed-2" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        DamagedError, match=r"second/seed-2/weights\.safetensors: sha256 is .*`dvc repro` makes it anew"
    ):
        stage()


def test_the_test_set_is_not_read_before_the_choice(stage: Stage) -> None:
    (stage.project.prepared("tiny") / "test" / "images.npy").unlink()
    stage.trained["first"] = [replace(model, metrics={}) for model in stage.trained["first"]]
    with pytest.raises(LenetError, match="first: has no validation error to choose by"):
        stage()


def test_a_damaged_test_set_is_not_read(stage: Stage) -> None:
    path = stage.project.prepared("tiny") / "test" / "labels.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"test/labels\.npy: sha256 is"):
        stage()


def test_a_variant_that_was_not_trained_says_what_to_run(project: Project) -> None:
    with pytest.raises(DamagedError, match=r"first/runs\.json: is missing; `dvc repro train@first` makes it"):
        read_variant(project, "first")
