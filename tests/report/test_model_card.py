"""The card's text, from small trees: what it says, what it leaves out, and what fits a version's description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lenet.config.params import Gate
from lenet.config.schema import Config
from lenet.evaluation.label_errors import TEST_LABELS_SHA256
from lenet.report.card_facts import CardFacts
from lenet.report.export_section import export_table
from lenet.report.model_card import DESCRIPTION_CHARACTERS, REST, as_description, model_card
from lenet.report.summary import Summary

RUN = "ab" * 32


def over_seeds(mean: float, n: int = 3) -> dict[str, Any]:
    return {"n": n, "mean": mean, "deviation": 0.1, "low": mean, "high": mean}


def quality(seed: int, run: str) -> dict[str, Any]:
    kinds = {"shift": 3.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
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


LATENCY = {"images": 1000, "median_ms": 12.5, "lower_quartile_ms": 12.0, "upper_quartile_ms": 13.25, "repeats": 40}
EXPORT: dict[str, Any] = {
    "variant": "relu",
    "seed": 2,
    "opset": 18,
    "onnx_sha256": "cd" * 32,
    "onnx_bytes": 250_880,
    "weight_bytes": 247_200,
    "parameters": 61706,
    "agreement": {"images": 10000, "same_answers": 10000, "largest_difference": 6e-6},
    "latency": {runtime: {"images_1000": LATENCY} for runtime in ("torch", "onnxruntime")},
}


@pytest.fixture
def facts(make_config: Callable[..., Config]) -> CardFacts:
    found = {
        "test_error": over_seeds(0.7),
        "test_loss": over_seeds(0.066),
        "validation_error": over_seeds(0.8),
        "calibration_error": over_seeds(4.6),
        "interval": [0.6, 0.8],
        "runs": [
            {"seed": 2, "fingerprint": RUN, "misclassified": 72, "error": 0.72, "interval": [0.56, 0.91], "loss": 0.067}
        ],
    }
    return CardFacts(
        model="digits",
        config=make_config(seed=2, data__name="numbers"),
        identity={"fingerprint": RUN, "data_digest": "data", "code_digest": "code"},
        status={
            "files": {"weights.safetensors": "weights"},
            "attempts": [
                {"git": {"commit": "c0ffee", "dirty": True}, "versions": {"torch": "2.13.0"}, "device": "a processor"}
            ],
        },
        evaluation={
            "images": 10000,
            "confidence": 0.95,
            "test_digest": "test",
            "choice": {"variant": "relu", "seed": 2},
            "variants": {"relu": found},
        },
        quality=quality(2, RUN),
        recipe=(quality(1, "other"), quality(2, RUN)),
        data={
            "raw": {"labels": TEST_LABELS_SHA256},
            "counts": {"train": {"images": 55000}, "validation": {"images": 5000}, "test": {"images": 10000}},
        },
        gate=Gate(0.2, 0.95, 1.5, 0.05, None),
        summary=Summary("relu was chosen.", ("Over seeds.",)),
        search=None,
        export=EXPORT,
    )


def test_says_what_a_card_has_to_say(facts: CardFacts) -> None:
    card = model_card(facts)
    assert card == model_card(facts)
    headings = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert headings[:6] == ["Intended use", "Measures", "By class", "Limits", "Data", "How it was chosen"]
    assert headings[6:] == [
        "Recipe",
        "Is it chance?",
        "Robustness",
        "As it is served",
        "Provenance",
        "About this card",
    ]
    for line in (
        "# Model card: relu seed 2",
        "| test error, % | 0.72 | 0.56–0.91 | 0.70 ± 0.10 | 3 |",
        "| calibration error, points | 4.50 | 4.10–4.90 | 4.60 ± 0.10 | 3 |",
        "| 0 | 979 of 980 | 99.90 | 99.43–100.00 |",
        "| 1 | 0 of 0 | – | – |",
        "| rotation, 30 units | 12.0 | 11.5 ± 0.7 | 2 |",
        "| training | 500 | data |",
        "| commit | c0ffee with uncommitted changes |",
        "| weights sha256 | weights |",
        "| augmentation | random shifts of up to 1 pixel |",
        "relu was chosen.",
    ):
        assert line in card.splitlines()
    assert "Model Cards for Model Reporting" in card
    assert "Out of scope: any decision about people" in card
    assert "stays below 1.5 %" in card


@pytest.mark.parametrize(
    ("cut", "training", "validation"),
    [((500, 200), "500", "200"), ((None, 10_000), "50,000", "10,000"), ((None, 0), "60,000", "0")],
)
def test_the_sizes_are_the_runs_own(
    facts: CardFacts,
    make_config: Callable[..., Config],
    cut: tuple[int | None, int],
    training: str,
    validation: str,
) -> None:
    config = make_config(data__name="numbers", data__train_size=cut[0], data__validation_size=cut[1])
    card = model_card(replace(facts, config=config)).splitlines()
    assert f"| training | {training} | data |" in card
    assert f"| validation | {validation} | of the same files, held out by class |" in card


def test_mnists_own_limits_are_said_of_mnist_alone(facts: CardFacts) -> None:
    assert "15 of its test labels, 0.15 %," in model_card(facts)  # whatever the data set is called
    other = model_card(replace(facts, data={**facts.data, "raw": {"labels": "another"}}))
    assert "Northcutt" not in other
    assert "Census" not in other
    assert "handwritten" not in other
    assert "For teaching, for trying out experiment tracking, and as a small baseline: images of numbers," in other


def test_what_was_not_measured_is_left_out(facts: CardFacts) -> None:
    card = model_card(replace(facts, quality=None, recipe=(), export=None, summary=Summary("alone.", ())))
    for heading in ("By class", "Robustness", "As it is served", "Is it chance?"):
        assert f"## {heading}" not in card
    assert "| negative log-likelihood, nats | 0.0670 | – | 0.0660 ± 0.1000 | 3 |" in card


def test_a_search_that_took_part_is_told(facts: CardFacts) -> None:
    assert "of a search" not in model_card(facts)
    searched = ({"trials": {"all": 20}}, {"candidates": [{}, {}, {}], "comparison": {"n_a": 5}})
    card = model_card(replace(facts, search=searched))
    assert "the best of 20 trials of a search, of which the best 3 were trained again; its figures" in card
    assert "those of 5 further seeds" in card


def test_a_description_is_as_long_as_mlflow_takes(facts: CardFacts) -> None:
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


def test_latencies_are_a_table() -> None:
    table = export_table(EXPORT)
    assert list(table.header) == ["images a call", "torch, ms", "onnxruntime, ms"]
    assert [list(row) for row in table.rows] == [["1,000", "12.5 (12–13.2; n = 40)", "12.5 (12–13.2; n = 40)"]]
