from __future__ import annotations

import shutil

import pytest
from damage import flip, levels
from house import House

from lenet.data.datasets import load_data_config
from lenet.data.prepare import prepare
from lenet.doctor.data import check_data
from lenet.doctor.finding import Level


def test_a_flipped_bit_in_an_original_file(house: House) -> None:
    flip(house.root / "data/raw/tiny/test_images")
    (found,) = check_data(house.project)
    assert found.level == Level.PROBLEM
    assert found.text == "data/raw/tiny: damaged or other files: test_images"
    assert found.remedy == "lenet fetch tiny"


@pytest.mark.parametrize("name", ["train/images.npy", "train/order.npy", "test/labels.npy"])
def test_a_flipped_bit_in_an_array_and_the_remedy(house: House, name: str) -> None:
    flip(house.root / "data/prepared/tiny" / name)
    (found,) = check_data(house.project)
    assert found.level == Level.PROBLEM
    assert found.text == f"data/prepared/tiny: damaged or missing arrays: {name}"
    assert found.remedy == "lenet prepare tiny"
    data = load_data_config(house.project.conf, "tiny")
    prepare(data, house.project.raw("tiny"), house.project.prepared("tiny"))
    assert levels(check_data(house.project)) == [Level.OK]


def test_a_flipped_bit_in_the_card(house: House) -> None:
    flip(house.root / "data/prepared/tiny/card.json")
    (found,) = check_data(house.project)
    assert (found.level, found.remedy) == (Level.PROBLEM, "lenet prepare tiny")


def test_files_that_are_gone(house: House) -> None:
    (house.root / "data/raw/tiny/test_labels").unlink()
    (found,) = check_data(house.project)
    assert (found.level, found.text) == (Level.WARNING, "data/raw/tiny: missing: test_labels")
    shutil.rmtree(house.root / "data/raw/tiny")
    shutil.rmtree(house.root / "data/prepared/tiny")
    (found,) = check_data(house.project)
    assert (found.level, found.text) == (Level.WARNING, "tiny is not here yet")
    assert found.remedy == "lenet data tiny"


def test_arrays_of_other_files_than_the_config_names_now(house: House) -> None:
    path = house.project.conf / "data" / "tiny.yaml"
    own = load_data_config(house.project.conf, "tiny").origin
    assert own is not None
    path.write_text(path.read_text().replace(own.test_labels.sha256, "a" * 64))
    raw, prepared = check_data(house.project)
    assert raw.level == Level.PROBLEM
    assert (prepared.level, prepared.remedy) == (Level.WARNING, "lenet prepare tiny")
    assert "made from other files" in prepared.text
