"""The card's text, from small trees: what it says, what it leaves out, and what fits a version's description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lenet.config.params import Gate
from lenet.config.schema import Config
from lenet.evaluation.label_errors import TEST_LABELS_SHA256
from lenet.report.facts import comparison_facts
from lenet.report.model_card import DESCRIPTION_CHARACTERS, REST, as_description, card_facts
from lenet.report.render import render

RUN = "ab" * 32


def over_seeds(mean: float, n: int = 3) -> dict[str, Any]:
    return {"n": n, "mean": mean, "deviation": 0.1, "low": mean, "high": mean}


def quality(seed: int, run: str) -> dict[str, Any]:
    kinds = {"shift": 10.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
    curves = [
        {"distortion": kind, "unit": "units", "levels": [0.0, level], "errors": [1.0, 10.0 + seed], "images": 2000}
        for kind, level in kinds.items()
    ]
    recalls = [
        {"label": 0, "images": 980, "right": 979, "recall": 99.898, "interval": [99.43, 100.0]},
        {"label": 1, "images": 0, "right": 0, "recall": None, "interval": None},
    ]
    body = {"seed": seed, "fingerprint": run, "loss_interval": [0.06, 0.08], "calibration_error": 4.5}
    body |= {"calibration_interval": [4.1, 4.9], "recalls": recalls, "robustness": curves, "parameters": 61706}
    return body


EXPORT: dict[str, Any] = {
    "variant": "relu",
    "seed": 2,
    "opset": 18,
    "onnx_sha256": "cd" * 32,
    "onnx_bytes": 250_880,
    "weight_bytes": 247_200,
    "parameters": 61706,
    "agreement": {"images": 10000, "same_answers": 10000, "tolerance": 1e-4},
}


@pytest.fixture
def card(make_config: Callable[..., Config]) -> Callable[..., str]:
    """Return what makes a card of small trees, some of them given."""
    measured = {
        "test_error": over_seeds(0.7),
        "test_loss": over_seeds(0.066),
        "validation_error": over_seeds(0.8),
        "calibration_error": over_seeds(4.6),
        "interval": [0.6, 0.8],
        "runs": [
            {
                "seed": 2,
                "fingerprint": RUN,
                "misclassified": 72,
                "error": 0.72,
                "interval": [0.56, 0.91],
                "loss": 0.067,
            },
            {
                "seed": 1,
                "fingerprint": "other",
                "misclassified": 70,
                "error": 0.7,
                "interval": [0.5, 0.9],
                "loss": 0.066,
            },
        ],
    }
    evaluation = {
        "images": 10000,
        "confidence": 0.95,
        "test_digest": "test",
        "choice": {"variant": "relu", "seed": 2},
        "variants": {"relu": measured, "tanh": measured | {"validation_error": over_seeds(0.9)}},
        "against_baseline": None,
    }
    identity = {"fingerprint": RUN, "data_digest": "data", "code_digest": "code"}
    attempt = {"git": {"commit": "c0ffee", "dirty": True}, "versions": {"torch": "2.13.0"}, "device": "a processor"}
    status = {"files": {"weights.safetensors": "weights"}, "attempts": [attempt]}
    data = {
        "raw": {"labels": TEST_LABELS_SHA256},
        "counts": {"train": {"images": 55000}, "validation": {"images": 5000}, "test": {"images": 10000}},
    }
    measures: dict[str, Any] = {"pairs": [], "networks": {"relu": [quality(1, "other"), quality(2, RUN)]}}
    errors = {"relu": {1: 0.8, 2: 0.7}, "tanh": {1: 0.9, 2: 1.0}}

    def make(quality: Any = measures, data: Any = data, **change: Any) -> str:
        config = make_config(**{"seed": 2, "data__name": "numbers"} | change.pop("config", {}))
        rest = {
            "model": "digits",
            "gate": Gate(0.2, 0.95, 1.5, 0.05, None),
            "search": None,
            "refit": None,
            "export": EXPORT,
        }
        compared = comparison_facts(evaluation, quality, errors)
        own = card_facts(config, identity, status, evaluation, quality, data)
        return render("model_card.md.j2", {**rest, **compared, **own, **change})

    return make


OTHER_DATA = {"raw": {"labels": "another"}, "counts": {key: {"images": 100} for key in ("train", "validation", "test")}}


def test_says_what_a_card_has_to_say(card: Callable[..., str]) -> None:
    text = card()
    assert text == card()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings[:6] == ["Intended use", "Measures", "By class", "Limits", "Data", "How it was chosen"]
    assert headings[6:] == ["Recipe", "Is it chance?", "Robustness", "Export", "Provenance", "About this card"]
    for line in (
        "# Model card: relu seed 2",
        "| test error, % | 0.72 | 0.56–0.91 | 0.70 ± 0.10 | 3 |",
        "| calibration error, points | 4.50 | 4.10–4.90 | 4.60 ± 0.10 | 3 |",
        "| pattern 0 | 979 of 980 | 99.90 | 99.43–100.00 |",
        "| pattern 1 | 0 of 0 | – | – |",
        "| rotation, 30 units | 12.0 | 11.5 ± 0.7 | 2 |",
        "| training | 500 | data |",
        "| weights sha256 | weights |",
        "| augmentation | shift, shift 1 |",
    ):
        assert line in text.splitlines()
    assert "\n\n2 variants were compared. Of 3 seeds of relu this one has the lowest validation error" in text
    assert "Model Cards for Model Reporting" in text
    assert "Out of scope: any decision about people" in text
    assert "is below 1.5 %" in text


@pytest.mark.parametrize(
    ("train_size", "validation_size", "training", "validation"),
    [(500, 200, "500", "200"), (None, 10_000, "50,000", "10,000"), (None, 0, "60,000", "0")],
)
def test_the_sizes_are_the_runs_own(
    card: Callable[..., str], train_size: int | None, validation_size: int, training: str, validation: str
) -> None:
    config = {"data__train_size": train_size, "data__validation_size": validation_size}
    lines = card(config=config).splitlines()
    assert f"| training | {training} | data |" in lines
    assert f"| validation | {validation} | of the same files, stratified by class |" in lines


def test_mnists_own_limits_are_said_of_mnist_alone(card: Callable[..., str]) -> None:
    assert "confirmed 15 of its 10,000 test labels" in card()  # whatever the data set is called
    other = card(data=OTHER_DATA)
    for word in ("Northcutt", "Census", "handwritten"):
        assert word not in other
    assert "Input: images of numbers, " in other


def test_the_recipe_names_the_knobs_that_are_set(card: Callable[..., str]) -> None:
    assert "gradient norm" not in card()
    rows = card(config={"trainer__gradient_clip": 0.5, "trainer__accumulate": 4}).splitlines()
    assert "| largest gradient norm | 0.5 |" in rows
    assert "| mini-batches a step | 4 |" in rows


def test_what_was_not_measured_is_left_out(card: Callable[..., str]) -> None:
    text = card(quality={"pairs": [], "networks": {}}, export=None)
    for heading in ("By class", "Robustness", "Export"):
        assert f"## {heading}" not in text
    assert "| negative log-likelihood, nats | 0.0670 | – | 0.0660 ± 0.1000 | 3 |" in text


def test_a_search_that_took_part_is_named(card: Callable[..., str]) -> None:
    assert "of a search" not in card()
    refit = {"candidates": [{}, {}, {}], "comparison": {"n_a": 5}}
    text = card(search={"trials": {"all": 20}}, refit=refit)
    assert "the best of 20 trials of a search, of which the best 3 were trained again" in text
    assert "those of 5 further seeds" in text


def test_a_description_is_as_long_as_mlflow_takes() -> None:
    assert as_description("# short\n") == "# short\n"
    card = "# card\n\nlead\n\n## one\n\n" + "a" * 3000 + "\n\n## two\n\n" + "b" * 3000 + "\n\n## three\n\nc\n"
    shown = as_description(card)
    assert len(shown) <= DESCRIPTION_CHARACTERS
    assert [line for line in shown.splitlines() if line.startswith("#")] == ["# card", "## one", "## three"]
    assert shown.endswith(f"\n\nc\n\n{REST}")
    for limit in range(len(REST) + 2, 3300, 97):
        assert len(as_description(card, limit)) <= limit
    assert as_description("x" * 9000).startswith("xxx")
    assert len(as_description("x" * 9000)) == DESCRIPTION_CHARACTERS
