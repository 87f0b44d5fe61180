"""`python train.py --help`: the groups, and every knob with the comment that stands beside it in conf/.

Hydra's own help loads each file of each group to list their names, which takes longer than the rest of the command.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

INTRODUCTION = """\
Train LeNet-5 and its variants.

  python train.py                                     one run
  python train.py experiment=lenet5_relu seed=2       another variant, another seed
  python train.py -m model.activation=tanh,relu       one run for each value, and a table of them
  python train.py --cfg job                           the composed config, without training
  python train.py --hydra-help                        Hydra's own options
"""

SHOWN = (
    "model/lenet5",
    "augmentation/shift",
    "optimizer/adam",
    "optimizer/schedule/one_cycle",
    "trainer/auto",
    "tracking/mlflow",
)
"""The option of each group whose knobs are shown; --cfg job shows those of any other."""


def help_text(conf: Path) -> str:
    """Return the help of train.py for a configuration folder."""
    options = "\n".join(f"  {group}: {', '.join(names)}" for group, names in groups(conf))
    knobs = "\n\n".join("\n".join(_knobs(conf, option)) for option in SHOWN)
    return f"{INTRODUCTION}\nGroups (group=option)\n{options}\n\nKnobs (key=value)\n{knobs}\n\n  seed=1"


def groups(conf: Path) -> Iterator[tuple[str, list[str]]]:
    """Give each group of a configuration folder with its options."""
    for folder in sorted(path for path in conf.rglob("*") if path.is_dir()):
        names = sorted(path.stem for path in folder.glob("*.yaml"))
        if names:
            yield str(folder.relative_to(conf)), names


def _knobs(conf: Path, option: str) -> Iterator[str]:
    group = option.rpartition("/")[0].replace("/", ".")
    for line in (conf / f"{option}.yaml").read_text(encoding="utf-8").splitlines():
        key, colon, rest = line.partition(":")
        if colon and key.isidentifier() and key != "defaults":
            value, _, comment = rest.partition("#")
            yield f"  {f'{group}.{key}={value.strip()}':<42} {comment.strip()}".rstrip()
