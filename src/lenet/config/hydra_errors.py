"""Translate errors of Hydra, OmegaConf, YAML and Hydra's plugins into one line that a user can act on."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenet.core.cli_errors import TRACEBACK_VARIABLE
from lenet.core.errors import ConfigError, LenetError

OWN_FAULT = "This is a fault of LeNet Lab's, not of what was typed."
"""Note on an exception: it came out of our own code, which Hydra called."""

PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
"""What to install for a choice of Hydra's own groups."""

SEARCH = "search"
"""The group that `lenet search` adds; train.py has no key of it."""


@contextmanager
def own_faults() -> Iterator[None]:
    """Mark what is raised within, but a LenetError, as our fault: `translate_hydra_errors` lets it through as it is."""
    try:
        yield
    except LenetError:
        raise
    except Exception as error:
        error.add_note(OWN_FAULT)  # a note goes with the exception when another process sends it back
        raise


@contextmanager
def translate_hydra_errors(conf: Path, words: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Hydra and its plugins raise within into a ConfigError of one line.

    Whatever class it has: they raise ValueError and AssertionError for what was typed too. Our own errors pass, and so
    do an OSError, for which `exit_on_error` has the message, and what `own_faults` marks.

    Args:
        conf: the configuration's folder.
        words: what was typed, to name the word that is wrong where Hydra does not.
    """
    from hydra.errors import HydraException

    try:
        yield
    except LenetError:
        raise
    except Exception as error:
        is_system = isinstance(error, OSError) and not isinstance(error, HydraException)
        if is_system or OWN_FAULT in getattr(error, "__notes__", ()):
            raise
        raise ConfigError(explain(error, conf, words)) from error


def explain(error: Exception, conf: Path, words: Sequence[str] = ()) -> str:
    """Return in one line what an exception of Hydra's says, and what there is instead."""
    from hydra.errors import MissingConfigException, OverrideParseException

    text = str(error)
    for name, stage in (("searched", "search"), ("refitted", "refit")):
        if f"{stage}/best" in text:
            return f"experiment={name}: no {stage} has left its best recipe yet; `dvc repro {stage}` makes one"
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, text)
    if isinstance(error, MissingConfigException):
        return _missing(error, conf)
    if match := re.match(
        r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'(?:$| requires)", text, re.MULTILINE
    ):
        typed = shlex.quote(match[1])
        return f"{match[1]}: is several values; `python train.py -m {typed}` trains a run for each"
    if "Config group override must be a string" in text:
        return _no_option(conf, words)
    if match := re.match(r"Could not override '([^']+)'", text):
        return _unknown(match[1], error, conf, words)
    if match := re.match(r"Could not append to config\. An item is already at '([^']+)'", text):
        return f"+{match[1]}: the key is there already; leave out the +"
    if match := re.match(r"Multiple values for ([\w/@]+)\.|([\w/@]+) appears more than once", text):
        return f"+{match[1] or match[2]}: is chosen already; leave out the +"
    if match := re.match(r"Error merging override (.+)", text):
        return f"{match[1]}: {first_lines(error.__cause__ or error, 1)}"
    return _other(error, words)


def first_lines(error: BaseException, count: int = 2) -> str:
    """Return the first lines of an exception's message, as one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:count]).rstrip(":")


def _other(error: Exception, words: Sequence[str]) -> str:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, OmegaConfBaseException):
        return first_lines(error)
    paragraph = " ".join(str(error).strip().partition("\n\n")[0].split()).rstrip(":")
    if isinstance(error, HydraException | YAMLError):
        return paragraph
    reason = "Hydra cannot use what was typed" if isinstance(error, AssertionError) else paragraph
    where = f"{type(error).__name__}; {TRACEBACK_VARIABLE}=1 shows where"
    return f"{words[0]}: {reason} ({where})" if len(words) == 1 else f"{reason} ({where})"


def _unreadable(word: str, text: str) -> str:
    """Return the reason of a syntax error, without the parser's list of all tokens it expected."""
    lines = [line for line in text.splitlines() if not line.startswith(("Error parsing", "Lexer", "See https", " "))]
    reason = re.sub(r" expecting .*", "", lines[0]).replace("'<EOF>'", "its end") if lines else ""
    detail = f" ({reason})" if reason and "missing EQUAL" not in reason else ""
    return f"{word.strip() or 'an empty word'}: is not written as key=value or group=option{detail}"


def _missing(error: Any, conf: Path) -> str:
    """Return what can be given in place of a missing configuration file."""
    text = str(error)
    if match := re.search(r"Cannot find primary config '([^']*)'", text):
        return f"-cn {match[1]}: {conf} has no such file; leave out -cn, config.yaml is the one"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, option = match[1].rpartition("/")
        for known in _groups(conf):
            if match[1].startswith(f"{known}/"):
                group, option = known, match[1].removeprefix(f"{known}/")
        if group.startswith("hydra/") and option in PLUGINS:
            return f"{group}={option}: is not installed; `pip install {PLUGINS[option]}`"
        if options := sorted(set(error.options or ())):
            return f"{group}={option}: must be one of {', '.join(options)}"
        return _no_group(group, conf)
    return _other(error, ())


def _no_group(name: str, conf: Path) -> str:
    groups = ", ".join(group for group in _groups(conf) if group != SEARCH)
    return f"{name}: no such group; the groups are {groups}"


def _groups(conf: Path) -> dict[str, str]:
    """Return the names of a configuration's groups, each with those of its options."""
    folders = sorted(path for path in conf.rglob("*") if path.is_dir())
    return {
        str(path.relative_to(conf)): ", ".join(sorted(option.stem for option in path.glob("*.yaml")))
        for path in folders
    }


def _no_option(conf: Path, words: Sequence[str]) -> str:
    """Name the word that gives a group a value which is no name, such as model=null or model=3."""
    groups = _groups(conf)
    for word in words:
        group, _, value = word.lstrip("+").partition("=")
        if group in groups and re.fullmatch(r"null|true|false|[-+.\de]+", value, re.IGNORECASE):
            return f"{word}: must be one of {groups[group]}"
    wrong = next((word for word in words if re.match(r"=|hydra[^.=]*=", word)), "a group's choice")
    return f"{wrong}: must be the name of an option, as in optimizer=adam"


def _unknown(name: str, error: Exception, conf: Path, words: Sequence[str]) -> str:
    groups = _groups(conf)
    if name in groups:
        return f"{name}: must be one of {groups[name]}"
    if "/" in name or "@" in name:
        return _no_group(name, conf)
    if name.partition(".")[0] == "hydra":
        # OmegaConf says in which part of the composed config the key was looked for.
        parent = getattr(error.__cause__, "parent_node", None)
        names = sorted(map(str, parent)) if isinstance(parent, Mapping) else []
        inside = name.rpartition(".")[0]
        keys = f"{inside}'s keys are {', '.join(names)}" if names else "`python train.py --cfg hydra` shows them all"
        return f"{name}: no such key; {keys}"
    chosen = next((word.partition("=")[2] for word in words if word.startswith(f"+{SEARCH}=")), None)
    near = _nearest(name, [key for key in _known_keys(conf, name) if chosen or key.partition(".")[0] != SEARCH])
    is_search = chosen and name.startswith(SEARCH)
    all_of_them = f"conf/{SEARCH}/{chosen}.yaml has" if is_search else "`python train.py --cfg job` shows"
    return f"{name}: no such key{near}; {all_of_them} them all"


def _nearest(name: str, keys: Sequence[str]) -> str:
    alike = [key for key in keys if key.endswith(f".{name}")] or difflib.get_close_matches(name, sorted(keys), n=1)
    return f" (did you mean '{alike[0]}'?)" if alike else ""


def _known_keys(conf: Path, wrong: str) -> Iterator[str]:
    """Give groups and keys, but not `wrong` itself, which some option that is not chosen may have."""
    from lenet.config.validation import flatten
    from lenet.core.yaml_loader import read_yaml

    for path in sorted(conf.rglob("*.yaml")):
        group = path.relative_to(conf).parts[:-1]
        body = read_yaml(path)
        if group and group != ("experiment",) and isinstance(body, dict):
            yield "/".join(group)
            keys = (".".join((*group, key)) for key, _ in flatten(body))
            yield from (key for key in keys if key != wrong and not key.endswith(".defaults"))
    yield from ("experiment", "seed")
