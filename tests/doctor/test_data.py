from __future__ import annotations

import shutil

import pytest
from doctored import Sample, flip, levels

from lenet.data.datasets import load_data_config
from lenet.data.prepare import prepare
from lenet.doctor.data import check_data
from lenet.doctor.finding import Level


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("raw/tiny/test_images", "lenet fetch tiny"),
        ("prepared/tiny/train/images.npy", "lenet prepare tiny"),
        ("prepared/tiny/test/labels.npy", "lenet prepare tiny"),
        ("prepared/tiny/card.json", "lenet prepare tiny"),
    ],
)
def test_flipped_bit_is_found_and_preparing_again_mends_it(sample: Sample, path: str, remedy: str) -> None:
    flip(sample.root / "data" / path)
    (found,) = check_data(sample.project)
    assert (found.level, found.remedy) == (Level.PROBLEM, remedy)
    assert path.partition("tiny/")[2] in found.text
    if path.startswith("prepared"):
        data = load_data_config(sample.project.conf, "tiny")
        prepare(data, sample.project.raw("tiny"), sample.project.prepared("tiny"))
        assert levels(check_data(sample.project)) == [Level.OK]


def test_missing_files_are_warnings(sample: Sample) -> None:
    (sample.root / "data/raw/tiny/test_labels").unlink()
    (found,) = check_data(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet fetch tiny")
    shutil.rmtree(sample.root / "data/raw/tiny")
    shutil.rmtree(sample.root / "data/prepared/tiny")
    (found,) = check_data(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet data tiny")


def test_arrays_of_other_files_than_the_config_names(sample: Sample) -> None:
    path = sample.project.conf / "data" / "tiny.yaml"
    origin = load_data_config(sample.project.conf, "tiny").origin
    assert origin is not None
    path.write_text(path.read_text().replace(origin.test_labels.sha256, "a" * 64))
    raw, prepared = check_data(sample.project)
    assert raw.level == Level.PROBLEM
    assert (prepared.level, prepared.remedy) == (Level.WARNING, "lenet prepare tiny")
