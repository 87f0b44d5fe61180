"""The `lenet` command: one table of commands and their functions, which import what they need when they are called."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lenet.core.fast_imports  # noqa: F401
from lenet import __version__
from lenet.core.cli_errors import check_words, exit_on_error, hide_passwords, survive_any_terminal
from lenet.core.errors import EXIT_FAILED
from lenet.core.log import configure_logging

if TYPE_CHECKING:
    from lenet.core.project import Project

logger = logging.getLogger(__name__)
Arguments = argparse.Namespace


def main(words: Sequence[str] | None = None) -> None:
    """Run one command; the process's exit code says whether it was done."""
    configure_logging()
    hide_passwords()
    survive_any_terminal()
    exit_on_error(lambda: check_words(sys.argv[1:] if words is None else words))
    arguments = build_parser().parse_args(words)
    exit_on_error(lambda: _run(arguments))


def _run(arguments: Arguments) -> None:
    from lenet.core.project import find_project

    if "DVC_STAGE" in os.environ:
        from lenet.core.processes import die_with_parent

        die_with_parent(signal.SIGTERM)
    arguments.command(find_project(), arguments)


def _runs(project: Project, arguments: Arguments) -> None:
    from lenet.runs.run_dir import find_run
    from lenet.runs.table import print_run, print_runs

    if len(arguments.what) == 1 and "=" not in arguments.what[0]:
        print_run(find_run(project, arguments.what[0]))
    else:
        print_runs(project, arguments.what)


def _ui(project: Project, arguments: Arguments) -> None:
    from lenet.pipeline.register import repair_registry
    from lenet.tracking.ui_links import UI_PORT
    from lenet.tracking.ui_server import serve

    serve(project, arguments.port or UI_PORT, lambda: repair_registry(project))


def _sync(project: Project, arguments: Arguments) -> None:
    from lenet.pipeline.register import repair_registry
    from lenet.tracking.sync import synchronize

    is_shown = synchronize(project)
    repair_registry(project)
    if not is_shown:
        sys.exit(EXIT_FAILED)


def _reproduce(project: Project, arguments: Arguments) -> None:
    from lenet.execution.reproduce import reproduce
    from lenet.runs.run_dir import find_run

    run_dir = find_run(project, arguments.run)
    print(f"{run_dir.short}: the same weights, bit for bit (sha256 {reproduce(project, run_dir)[:12]}…)")


def _clean(project: Project, arguments: Arguments) -> None:
    from lenet.runs.cleanup import clean

    clean(project, arguments.killed, arguments.yes)


def _doctor(project: Project, arguments: Arguments) -> None:
    from lenet.doctor.checks import doctor

    if not doctor(project, arguments.json):
        sys.exit(EXIT_FAILED)


def _compare(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.core.errors import ConfigError

    names = (arguments.a, arguments.b)
    filters = [name for name in names if "=" in name]
    if len(filters) == 1:
        raise ConfigError(f"{' '.join(names)}: compare two filters or two networks, not one of each")
    if filters:
        from lenet.report.compare_recipes import compare_recipes

        print(compare_recipes(project, names, arguments.figure))
    elif arguments.figure is not None:
        raise ConfigError("--figure: draws two recipes; give two filters such as model.activation=tanh")
    else:
        from lenet.report.compare_networks import compare_networks

        print(compare_networks(project, read_params(project), names))


def _promote(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.gate.promote import promote

    result = promote(project, read_params(project), arguments.version, arguments.reason)
    _print_result(result.lines, result.done)


def _gate(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.gate.ci_gate import run_gate

    params = read_params(project)
    register = None
    if arguments.promote:
        from lenet.pipeline.register import register_chosen

        register = partial(register_chosen, project, params)
    report = run_gate(project, params, arguments.against, register)
    _print_result(report.lines, report.good)


def _rollback(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.registry.rollback import rollback

    print(rollback(project, read_params(project), arguments.reason))


def _print_result(lines: Sequence[str], is_good: bool) -> None:
    print("\n".join(lines), flush=True)
    if not is_good:
        sys.exit(EXIT_FAILED)


def _registry(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.registry.show import show_registry

    print(show_registry(project, read_params(project), arguments.json))


def _search(project: Project, arguments: Arguments) -> None:
    if arguments.pipeline:
        from lenet.config.params import read_params
        from lenet.pipeline.search_stages import search_stage

        search_stage(project, read_params(project), arguments.overrides, arguments.into)
        return
    from lenet.search.runner import run_search
    from lenet.search.spec import read_spec

    words = arguments.overrides
    run_search(read_spec(project, words), words, arguments.join, arguments.dashboard, arguments.into)


def _data_name(project: Project, arguments: Arguments) -> str:
    from lenet.config.params import read_params

    return arguments.name or read_params(project).data


def _data(project: Project, arguments: Arguments) -> None:
    _fetch(project, arguments)
    _prepare(project, arguments)


def _fetch(project: Project, arguments: Arguments) -> None:
    from lenet.pipeline.stages import fetch_set

    fetch_set(project, _data_name(project, arguments), arguments.folder)


def _prepare(project: Project, arguments: Arguments) -> None:
    from lenet.pipeline.stages import prepare_set

    prepare_set(project, _data_name(project, arguments))


def _compose(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import compose_variants, read_params, write_variants
    from lenet.pipeline.stage_inputs import resolve_inputs, write_inputs

    params = read_params(project)
    configs, inputs = compose_variants(project, params), resolve_inputs(project, params)
    for path in (*write_variants(project, configs), *write_inputs(project, inputs)):
        logger.info(f"wrote {path.relative_to(project.root)}")


def _train(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.stages import train_variant

    train_variant(project, read_params(project), arguments.variant)


def _refit(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.search_stages import refit_stage

    refit_stage(project, read_params(project))


def _evaluate(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.stages import evaluate_variants

    evaluate_variants(project, read_params(project))


def _export(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.export import export_chosen

    export_chosen(project, read_params(project))


def _register(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.register import register_chosen

    register_chosen(project, read_params(project))


def _report(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.report.build_report import write_report
    from lenet.report.readme_table import write_readme_table

    if arguments.readme:
        write_readme_table(project)
    else:
        write_report(project, read_params(project))


class Command(NamedTuple):
    """A command of `lenet`: what it calls, its help, and its arguments."""

    call: Callable[[Project, Arguments], None]
    about: str
    arguments: tuple[tuple[str, dict[str, Any]], ...] = ()


def _argument(name: str, about: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return name, {"help": about, **options}


_FLAG: dict[str, Any] = {"action": "store_true"}
_DATA = _argument("name", "conf/data/<name>.yaml; default: the one in params.yaml", nargs="?")
_FROM = _argument("--from", "a folder that holds the files, tried first", dest="folder", type=Path)
_MODEL = (
    "a filter for the runs of a recipe: model.activation=tanh[,key=value]; or one network: the start of a run's"
    " fingerprint, or a version (3, @champion, lenet5/3)"
)

COMMANDS = {
    "runs": Command(
        _runs,
        "list the runs, or show one",
        (_argument("what", "filters such as model.activation=relu, or the start of one fingerprint", nargs="*"),),
    ),
    "ui": Command(_ui, "open MLflow on the project's store", (_argument("--port", "default: 5000", type=int),)),
    "sync": Command(_sync, "bring MLflow up to date with the run directories"),
    "reproduce": Command(
        _reproduce,
        "train a finished run again and compare the weights, bit for bit",
        (_argument("run", "the start of its fingerprint"),),
    ),
    "clean": Command(
        _clean,
        "list what can be deleted, and delete it with --yes",
        (
            _argument("--yes", "delete it", **_FLAG),
            _argument("--killed", "also runs that were killed and could go on", **_FLAG),
        ),
    ),
    "doctor": Command(
        _doctor,
        "check data, runs, MLflow, registry and machine, with a remedy for each finding; changes nothing",
        (_argument("--json", "for programs", **_FLAG),),
    ),
    "compare": Command(
        _compare,
        "compare two recipes on validation, or two networks on the test set",
        (
            _argument("a", _MODEL),
            _argument("b", _MODEL),
            _argument("--figure", "draw two recipes for a paper (PDF, SVG or PNG, and a CSV)", type=Path),
        ),
    ),
    "promote": Command(
        _promote,
        "make a version the champion, if it passes the gate",
        (
            _argument("version", "3, or @previous; default: the challenger", nargs="?"),
            _argument("--reason", "why the champion should go even for one that is no better: new data, …"),
        ),
    ),
    "gate": Command(
        _gate,
        "compare the pipeline's choice with the champion; exit code 1 if it is worse",
        (
            _argument("--promote", "register it, and make it champion if it is better", **_FLAG),
            _argument("--against", "the MLflow store that has the champion, read only", metavar="URI"),
        ),
    ),
    "rollback": Command(
        _rollback,
        "make the previous champion the champion again",
        (_argument("--reason", "for the history"),),
    ),
    "registry": Command(
        _registry,
        "show the registered versions, and who changed the champion, when and why",
        (_argument("--json", "all of it, with the numbers of each decision", **_FLAG),),
    ),
    "search": Command(
        _search,
        "search for a better recipe, from where the search was left",
        (
            _argument("overrides", "search=<name> (conf/search), search.trials=60, data=…, as in Hydra", nargs="*"),
            _argument("--join", "add workers to a search that another terminal leads", **_FLAG),
            _argument("--dashboard", "serve optuna-dashboard beside it (extra: dashboard)", **_FLAG),
            _argument("--pipeline", "stage: the search that params.yaml describes", **_FLAG),
            _argument("--into", "a folder that the results are copied to", type=Path),
        ),
    ),
    "data": Command(_data, "fetch and prepare a data set", (_DATA, _FROM)),
    "fetch": Command(_fetch, "stage: fetch a data set's files and check them", (_DATA, _FROM)),
    "prepare": Command(_prepare, "stage: write a data set's arrays and card", (_DATA,)),
    "compose": Command(_compose, "stage: write each variant's resolved config"),
    "train": Command(_train, "stage: train a variant with every seed", (_argument("variant", "as in params.yaml"),)),
    "refit": Command(_refit, "stage: train the search's best recipes with every seed, and choose by the mean"),
    "evaluate": Command(_evaluate, "stage: choose on validation, then read the test set"),
    "export": Command(_export, "stage: write the chosen model as ONNX, checked against torch on the test images"),
    "register": Command(_register, "stage: put the chosen model into the MLflow registry"),
    "report": Command(
        _report,
        "stage: write results/report.html and results/report.md",
        (_argument("--readme", "write the table of results into README.md instead", **_FLAG),),
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lenet",
        description="Experiment tracking in which a run has one identity. Training: `python train.py --help`.",
    )
    parser.add_argument("--version", action="version", version=f"lenet-lab {__version__}")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        description = f"{command.about[0].upper()}{command.about[1:]}."
        sub = parsers.add_parser(name, help=command.about, description=description)
        sub.set_defaults(command=command.call)
        for argument, options in command.arguments:
            sub.add_argument(argument, **options)
    return parser
