"""The results of a search: best config as an experiment, candidates, summary, every trial as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, remove, write_bytes, write_json, write_text
from lenet.core.errors import ConfigError
from lenet.core.paths import SEARCHED
from lenet.search.plots.draw_search import PICTURES
from lenet.search.spec import SearchSpec
from lenet.search.trial_records import TrialRecord, best_so_far, count, pareto_front, ranked, trials_table

BEST, CANDIDATES, TRIALS, SUMMARY = "best.yaml", "candidates.json", "trials.csv", "summary.json"
PAGE, PLOTS = "search.html", "plots"
MAX_CANDIDATES = 20
RECIPE_GROUPS = ("model", "augmentation", "optimizer")
TRAINER_FIELDS = ("batch_size", "accumulate", "gradient_clip", "early_stopping", "precision")


def write_results(spec: SearchSpec, study: str, records: Sequence[TrialRecord], is_over: bool, folder: Path) -> None:
    """Write the results so far into a search's folder, each file whole or not at all.

    Args:
        spec: the search.
        study: the study's name.
        records: its trials.
        is_over: the budget is spent.
        folder: the search's folder.
    """
    best_first = ranked(records)
    candidates = [_candidate(spec, one) for one in best_first[:MAX_CANDIDATES]]
    write_text(folder / TRIALS, trials_table(records))
    write_json(folder / CANDIDATES, {"study": study, "candidates": candidates})
    write_json(folder / SUMMARY, summary(spec, study, records) | {"is_over": is_over})
    if best_first:
        config, source = spec.config_for(best_first[0].assignment), f"trial {best_first[0].number} of {study}"
        write_text(folder / BEST, experiment_yaml(config, SEARCHED, f"`lenet search`: {source}"))


def check_target(into: Path) -> Path:
    """Return the folder that results are to be copied to as an absolute path.

    Raises:
        ConfigError: it is no folder, and cannot become one.
    """
    target = into.resolve()
    if not target.name or (target.exists() and not target.is_dir()):
        raise ConfigError(f"--into {into}: is no folder that results could be copied to")
    return target


def copy_results(folder: Path, into: Path) -> None:
    """Copy a search's results to where the pipeline, and `experiment=searched`, look for them.

    Other files there are left alone; pictures that this search does not have are deleted.
    """
    for name in (BEST, CANDIDATES, TRIALS):
        if (folder / name).is_file():
            write_text(into / name, (folder / name).read_text(encoding="utf-8"))
    body = read_json(folder / SUMMARY)
    write_json(into / SUMMARY, body | {"history": [[trial, error] for trial, error, _ in body["history"]]})
    if (folder / PAGE).is_file():  # of several megabytes: beside the folder, so that the rest can be kept in git
        write_text(into.with_name(f"{into.name}.html"), (folder / PAGE).read_text(encoding="utf-8"))
    for name in PICTURES:
        if (folder / PLOTS / name).is_file():
            write_bytes(into / PLOTS / name, (folder / PLOTS / name).read_bytes())
        else:
            remove(into / PLOTS / name, into)


def summary(spec: SearchSpec, study: str, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the search in numbers; errors in percent."""
    best = next(iter(ranked(records)), None)
    search, counts = spec.search, count(records)
    return {
        "study": study,
        "objectives": list(search.objectives),
        "sampler": search.sampler,
        "pruner": search.pruner,
        "trials": {"complete": counts.complete, "pruned": counts.pruned, "failed": counts.failed, "all": counts.ended},
        "epochs": sum(int(one.result.get("epochs", 0)) for one in records),
        "epochs_unpruned": counts.ended * search.epochs,
        "best": best
        and {"trial": best.number, "run": best.fingerprint, "val_error": best.error, "values": dict(best.assignment)},
        "history": best_so_far(records),
        "front": [{"trial": one.number, "run": one.fingerprint} | one.values for one in pareto_front(records)],
    }


def _candidate(spec: SearchSpec, one: TrialRecord) -> dict[str, Any]:
    config = spec.config_for(one.assignment)
    return {
        "trial": one.number,
        "run": one.fingerprint,
        "val_error": one.error,
        "values": dict(one.assignment),
        "seed": config.seed,
        "epochs": config.trainer.epochs,
        "config": config.tree(),
    }


def experiment_yaml(config: Config, name: str, source: str) -> str:
    """Return a config's recipe as a file of conf/experiment: groups, then every knob of theirs.

    Epochs, seed and data are left to the command line.

    Args:
        config: the config.
        name: the experiment's, as in `python train.py experiment=<name>`.
        source: for the comment: the command and the trial.
    """
    tree = config.tree()
    defaults = [{f"override /{group}": tree[group]["name"]} for group in RECIPE_GROUPS]
    defaults.append({"override /optimizer/schedule": tree["optimizer"]["schedule"]["name"]})
    body = {
        "defaults": defaults,
        "name": name,
        **{group: tree[group] for group in RECIPE_GROUPS},
        "trainer": {name: tree["trainer"][name] for name in TRAINER_FIELDS},
    }
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    return f"# python train.py experiment={name}\n# Written by {source}.\n{text}"
