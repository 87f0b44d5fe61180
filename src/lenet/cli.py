"""The `lenet` command: stages of the pipeline, and what one does with runs. Heavy imports wait for their command."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import lenet.core.fast_imports  # noqa: F401
from lenet import __version__
from lenet.core.cli_errors import check_words, exit_on_error, hide_passwords, survive_any_terminal
from lenet.core.errors import EXIT_FAILED
from lenet.core.log import configure_logging

if TYPE_CHECKING:
    from lenet.core.project import Project

_tell = logging.getLogger(__name__).info
Arguments = argparse.Namespace
Command = Callable[["Project", Arguments], None]


def main(words: Sequence[str] | None = None) -> None:
    """Run one command; the process's exit code says whether it was done."""
    configure_logging()
    hide_passwords()
    survive_any_terminal()
    exit_on_error(lambda: check_words(sys.argv[1:] if words is None else words))
    arguments = build_parser().parse_args(words)
    exit_on_error(lambda: _run(arguments))


def _run(arguments: Arguments) -> None:
    import os

    from lenet.core.processes import die_with_parent
    from lenet.core.project import find_project

    if "DVC_STAGE" in os.environ:
        die_with_parent(signal.SIGTERM)
    arguments.command(find_project(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lenet",
        description="Experiment tracking around LeNet-5. `python train.py --help` tells how to train.",
    )
    parser.add_argument("--version", action="version", version=f"lenet-lab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Command, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    runs = add("runs", _runs, "list the runs, or show one")
    runs.add_argument("what", nargs="*", help="filters such as model.activation=relu, or the start of one fingerprint")
    add("ui", _ui, "open MLflow on the project's store").add_argument("--port", type=int, help="default: 5000")
    add("sync", _sync, "bring MLflow up to date with the run folders")
    again = add("reproduce", _reproduce, "train a finished run again and compare the weights, bit for bit")
    again.add_argument("run", help="the start of its fingerprint")
    clean = add("clean", _clean, "say what can be deleted, and delete it with --yes")
    clean.add_argument("--yes", action="store_true", help="delete it")
    clean.add_argument("--killed", action="store_true", help="also runs that were killed and could go on")
    doctor = add(
        "doctor",
        _doctor,
        "check data, runs, MLflow, registry and machine, with a remedy for each finding; changes nothing",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    comparing = add("compare", _compare, "compare two recipes on validation, or two networks on the test set")
    for letter in ("a", "b"):
        comparing.add_argument(
            letter,
            help="a filter for the runs of a recipe: model.activation=tanh[,key=value]; or one network: the start of a"
            " run's fingerprint, or a version (3, @champion, lenet5/3)",
        )
    comparing.add_argument("--figure", type=Path, help="draw two recipes for a paper (PDF, SVG or PNG, and a CSV)")
    promoting = add("promote", _promote, "make a version the champion, where the gate lets it through")
    promoting.add_argument("version", nargs="?", help="3, or @previous; default: the challenger")
    promoting.add_argument("--reason", help="why the champion should go even for one that is no better: new data, …")
    gate = add("gate", _gate, "judge what the pipeline chose against the champion; 1 where it is worse")
    gate.add_argument("--promote", action="store_true", help="register it, and make it champion where it is better")
    gate.add_argument("--against", metavar="URI", help="the MLflow store that has the champion, read only")
    back = add("rollback", _rollback, "make the previous champion the champion again")
    back.add_argument("--reason", help="for the history")
    registry = add("registry", _registry, "show the registered versions, and who changed the champion, when and why")
    registry.add_argument("--json", action="store_true", help="all of it, verdicts with their numbers included")
    search = add("search", _search, "search for a better recipe, from where the search was left")
    search.add_argument(
        "overrides", nargs="*", help="search=<name> (conf/search), search.trials=60, data=…, as in Hydra"
    )
    search.add_argument("--join", action="store_true", help="work along with a search that another terminal leads")
    search.add_argument("--dashboard", action="store_true", help="serve optuna-dashboard beside it (extra: dashboard)")
    search.add_argument("--pipeline", action="store_true", help="stage: the search that params.yaml describes")
    search.add_argument("--into", type=Path, help="a folder that the findings are copied to")
    data = add("data", _data, "fetch and prepare a data set")
    fetch = add("fetch", _fetch, "stage: fetch a data set's files and check them")
    for sub in (data, fetch):
        sub.add_argument("name", nargs="?", help="conf/data/<name>.yaml; default: the one in params.yaml")
        sub.add_argument("--from", dest="folder", type=Path, help="a folder that holds the files, tried first")
    prepare = add("prepare", _prepare, "stage: write a data set's arrays and card")
    prepare.add_argument("name", nargs="?", help="conf/data/<name>.yaml; default: the one in params.yaml")
    add("compose", _compose, "stage: write each variant's resolved config")
    add("train", _train, "stage: train a variant with every seed").add_argument("variant", help="as in params.yaml")
    add("refit", _refit, "stage: train the search's best recipes with every seed, and choose by the mean")
    add("evaluate", _evaluate, "stage: choose on validation, then read the test set")
    add("export", _export, "stage: write the chosen model as ONNX, checked against torch on the test images")
    add("register", _register, "stage: put the chosen model into the MLflow registry")
    report = add("report", _report, "stage: write results/report.html and results/report.md")
    report.add_argument("--readme", action="store_true", help="write the table of results into README.md instead")
    return parser


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

    clean(project, arguments.killed, arguments.yes, _tell)


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

    fetch_set(project, _data_name(project, arguments), arguments.folder, _tell)


def _prepare(project: Project, arguments: Arguments) -> None:
    from lenet.pipeline.stages import prepare_set

    prepare_set(project, _data_name(project, arguments), _tell)


def _compose(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import compose_variants, read_params, write_variants
    from lenet.pipeline.stage_inputs import resolve_inputs, write_inputs

    params = read_params(project)
    configs, inputs = compose_variants(project, params), resolve_inputs(project, params)
    for path in (*write_variants(project, configs), *write_inputs(project, inputs)):
        _tell(f"wrote {path.relative_to(project.root)}")


def _train(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.stages import train_variant

    train_variant(project, read_params(project), arguments.variant, _tell)


def _refit(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.search_stages import refit_stage

    refit_stage(project, read_params(project))


def _evaluate(project: Project, arguments: Arguments) -> None:
    from lenet.config.params import read_params
    from lenet.pipeline.stages import evaluate_variants

    evaluate_variants(project, read_params(project), _tell)


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
