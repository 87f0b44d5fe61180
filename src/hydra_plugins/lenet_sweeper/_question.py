"""What a sweep is asked to be: its knobs and its space, checked to their ends, with an identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lenet.config.hydra_errors import translate_hydra_errors
from lenet.config.schema import Config
from lenet.config.validation import parse
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import validate_resources
from lenet.hydra_app.main import compose_job, project_of
from lenet.runs.fingerprint import code_digest
from lenet.search.storage import study_url

from ._knobs import WHERE, Knobs
from ._space import SweepSpace, read_overrides

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

DIGITS = 12
"""Of the digest in a study's name."""


@dataclass(frozen=True)
class SearchSpec:
    """A sweep that can be asked.

    Attributes:
        project: where things are.
        knobs: the sweeper's.
        space: its overrides.
        master: its config, Hydra's own part included.
        digests: of the prepared training data, by data set.
        identity: a digest of whatever changes what a trial means.
    """

    project: Project
    knobs: Knobs
    space: SweepSpace
    master: DictConfig
    digests: Mapping[str, str]
    identity: str

    @property
    def study_name(self) -> str:
        """The study's name: how many trials there are, and where they are kept, is not in it."""
        return self.knobs.study_name or f"sweep-{self.identity[:DIGITS]}"

    @property
    def url(self) -> str:
        """URL of the study's database."""
        return study_url(self.project, self.knobs.storage, f"{WHERE}.storage")

    def configure(self, words: Sequence[str]) -> Config:
        """Return the run that a trial's overrides describe.

        Raises:
            ConfigError: they do not go together.
        """
        return compose_job(self.master, words)


def read_spec(
    knobs: Mapping[str, Any],
    words: Sequence[str],
    master: DictConfig,
    loader: ConfigLoader,
    tell: Callable[[str], None],
) -> SearchSpec:
    """Check a sweep, and make its data ready.

    Args:
        knobs: the sweeper's.
        words: the overrides, swept and fixed.
        master: the sweep's config, Hydra's own part included.
        loader: knows the groups' options.
        tell: takes a line for the user.

    Raises:
        ConfigError: something is not allowed; nothing was written.
        DataError: the data cannot be had.
    """
    project, checked = project_of(master), _check_knobs(knobs)
    study_url(project, checked.storage, f"{WHERE}.storage")
    with translate_hydra_errors(project.conf):
        space = read_overrides(words, loader)
    ends = _compose_ends(project, space, master)
    _check_ends(project, ends)
    names = sorted({config.data.name for config in ends})
    digests = {name: training_digest(ensure_prepared(project, name, tell)) for name in names}
    return SearchSpec(project, checked, space, master, digests, _identity(checked, space, ends, digests))


def _check_knobs(knobs: Mapping[str, Any]) -> Knobs:
    checked: Knobs = parse(Knobs, knobs, WHERE)
    return checked


def _compose_ends(project: Project, space: SweepSpace, master: DictConfig) -> list[Config]:
    composed = []
    for assignment in space.ends(project.conf):
        try:
            composed.append(compose_job(master, space.words(assignment)))
        except ConfigError as error:
            told = ", ".join(f"{name}={assignment[name]}" for name in space.groups(project.conf))
            raise ConfigError(f"{error} (with {told})" if told else str(error)) from error
    return composed


def _check_ends(project: Project, ends: Sequence[Config]) -> None:
    if any(config.data.validation_size == 0 for config in ends):
        raise ConfigError("data.validation_size=0: the sweeper chooses by the validation error")
    # One look for all that agree in what decides whether a run can be trained here.
    for config in {(config.data.name, *_needs(config)): config for config in ends}.values():
        validate_resources(project, config)


def _needs(config: Config) -> tuple[int | None, int, str]:
    return config.data.train_size, config.data.validation_size, config.trainer.accelerator


def _identity(knobs: Knobs, space: SweepSpace, ends: Sequence[Config], digests: Mapping[str, str]) -> str:
    meaning = asdict(knobs)
    for name in ("n_trials", "storage", "study_name"):
        del meaning[name]
    body = {
        "knobs": meaning,
        "space": space.space.tree(),
        "ends": [config.identity() for config in ends],  # the fixed overrides, and the files in conf/ behind them
        "data": dict(digests),
        "code": code_digest(),
    }
    return sha256_bytes(canonical_json(body).encode())
