"""What a search leaves behind: the best configuration as an experiment, the candidates, every trial as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lenet.config.schema import Config
from lenet.core.atomic_io import remove, write_bytes, write_json, write_text
from lenet.core.errors import ConfigError
from lenet.core.paths import SEARCHED
from lenet.search.counts import Counts
from lenet.search.spec import SearchSpec
from lenet.search.trial_records import TrialRecord, pareto_front, ranked, trials_table

BEST, CANDIDATES, TRIALS, SUMMARY = "best.yaml", "candidates.json", "trials.csv", "summary.json"
PAGE, PLOTS = "search.html", "plots"
FILES = (BEST, CANDIDATES, TRIALS, SUMMARY)
MAX_CANDIDATES = 20
ENDED = ("COMPLETE", "PRUNED", "FAIL")
RECIPE_GROUPS = ("model", "augmentation", "optimizer")
TRAINER_FIELDS = ("batch_size", "precision")


def write_findings(
    question: SearchSpec, name: str, found: Sequence[TrialRecord], counts: Counts, is_over: bool, folder: Path
) -> None:
    """Write what the trials say so far into a search's folder; a crash leaves each file as it was or as it should be.

    Args:
        question: the search.
        name: the study's name.
        found: its trials.
        counts: how many are in which state.
        is_over: the budget is spent.
        folder: the search's folder.
    """
    best_first = ranked(found)
    candidates = [_candidate(question, one) for one in best_first[:MAX_CANDIDATES]]
    write_text(folder / TRIALS, trials_table(found))
    write_json(folder / CANDIDATES, {"study": name, "candidates": candidates})
    write_json(folder / SUMMARY, summary(question, name, found, counts) | {"is_over": is_over})
    if best_first:
        config = question.configure(best_first[0].assignment)
        write_text(
            folder / BEST, experiment(config, SEARCHED, f"`lenet search`: trial {best_first[0].number} of {name}")
        )


def check_target(into: Path) -> Path:
    """Return where findings are to be copied to, as a whole path, after looking whether they can be.

    Raises:
        ConfigError: it is no folder, and cannot become one.
    """
    target = into.resolve()
    if not target.name or (target.exists() and not target.is_dir()):
        raise ConfigError(f"--into {into}: is no folder that findings could be copied to")
    return target


def copy_results(folder: Path, into: Path) -> None:
    """Copy a search's findings to where the pipeline, and `experiment=searched`, look for them.

    Other files that lie there are left alone; of the findings, those that this search does not have are deleted.
    """
    from lenet.search.plots.overview import PICTURES

    for name in FILES:
        if (folder / name).is_file():
            write_text(into / name, (folder / name).read_text(encoding="utf-8"))
    if (folder / PAGE).is_file():  # of several megabytes: beside the folder, so that the rest can be kept in git
        write_text(into.with_name(f"{into.name}.html"), (folder / PAGE).read_text(encoding="utf-8"))
    for name in PICTURES:
        if (folder / PLOTS / name).is_file():
            write_bytes(into / PLOTS / name, (folder / PLOTS / name).read_bytes())
        else:
            remove(into / PLOTS / name, into)


def summary(question: SearchSpec, name: str, found: Sequence[TrialRecord], counts: Counts) -> dict[str, Any]:
    """Return the search in numbers; errors in percent."""
    best = next(iter(ranked(found)), None)
    search = question.search
    epochs = sum(int(one.outcome.get("epochs", 0)) for one in found)
    return {
        "study": name,
        "objectives": list(search.objectives),
        "sampler": search.sampler,
        "pruner": search.pruner,
        "trials": {"complete": counts.complete, "pruned": counts.pruned, "failed": counts.failed, "all": counts.done},
        "epochs": epochs,
        "epochs_unpruned": counts.done * search.epochs,
        "best": None
        if best is None
        else {"trial": best.number, "run": best.fingerprint, "val_error": best.error, "values": dict(best.assignment)},
        "history": best_so_far(found),
        "front": [{"trial": one.number, "run": one.fingerprint} | one.values for one in pareto_front(found)],
    }


def best_so_far(found: Sequence[TrialRecord]) -> list[list[float]]:
    """Return the lowest validation error after each trial as [trial, error in percent, when], up to the first open one.

    What comes after a trial that is still open may yet change by it.
    """
    history: list[list[float]] = []
    best = None
    for one in found:
        if one.state not in ENDED:
            break
        if one.state == "COMPLETE" and one.is_feasible:
            best = one.error if best is None else min(best, one.error)
        if best is not None:
            history.append([one.number, best, float(one.outcome.get("ended", 0.0))])
    return history


def _candidate(question: SearchSpec, one: TrialRecord) -> dict[str, Any]:
    config = question.configure(one.assignment)
    return {
        "trial": one.number,
        "run": one.fingerprint,
        "val_error": one.error,
        "values": dict(one.assignment),
        "seed": config.seed,
        "epochs": config.trainer.epochs,
        "config": config.tree(),
    }


def experiment(config: Config, name: str, source: str) -> str:
    """Return a config's recipe as an experiment's file: groups, then every knob of theirs.

    How long it is trained, with which seed and on what data is left to who trains it.

    Args:
        config: the config.
        name: the experiment's, as `python train.py experiment=<name>` has it.
        source: who wrote it, and what it is.
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
