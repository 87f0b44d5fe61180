"""Where the stages of dvc.yaml leave things for each other, relative to the project's root."""

from pathlib import Path

PARAMS = "params.yaml"
BUILT_CONF = Path("build/conf")
STAGE_INPUTS = BUILT_CONF / "stages"
BUILT_TRAIN = Path("build/train")
BUILT_EXPORT = Path("build/export/model.onnx")
LATENCY = Path("build/latency.json")
"""No out of a stage, whose digest would be another on another machine."""

BUILT_PREDICTIONS = Path("build/predictions")
VALIDATION_METRICS = Path("results/metrics/validation")
TEST_METRICS = Path("results/metrics/test")
SEARCH_METRICS = Path("results/metrics/search.json")
SIZE_METRICS = Path("results/metrics/size.json")
CURVES = Path("results/curves")
VALIDATION_CURVES = Path("results/validation_curves.csv")
PLOTS = Path("results/plots")
EVALUATION = Path("results/evaluation.json")
QUALITY = Path("results/quality.json")
EXPORT = Path("results/export.json")
REGISTRATION = Path("results/registration.json")
MODEL_CARD = Path("results/model_card.md")
SEARCH = Path("results/search")
REFIT = Path("results/refit.json")
REFIT_RECIPE = Path("results/refit/best.yaml")
REPORT_HTML = Path("results/report.html")
REPORT_MARKDOWN = Path("results/report.md")

SEARCHED, REFITTED = "searched", "refitted"
"""Experiments that the pipeline writes: the best trial of the search, and the recipe that the refit chose of the best.

The second one is trained with several seeds and evaluated beside the variants; the first may be one seed's luck.
"""
