from __future__ import annotations

import numpy as np
import pytest
import torch

from lenet.data.augment import RandomShift

FIELD = 32
SIZE = (FIELD, FIELD)


def digits(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(1, 256, (count, 1, 28, 28), dtype=np.uint8))


def crop_by_hand(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Put a digit on the field, `down` and `right` of the centre; what would leave the field is lost."""
    canvas = np.zeros((FIELD + 40, FIELD + 40), dtype=np.uint8)
    top, left = 20 + 2 + down, 20 + 2 + right
    canvas[top : top + 28, left : left + 28] = image
    return canvas[20 : 20 + FIELD, 20 : 20 + FIELD]


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 8])
def test_every_window_is_the_crop_one_makes_by_hand(shift: int) -> None:
    images = digits(2)
    windows = RandomShift(images, SIZE, shift)
    span = range(2 * shift + 1)
    for row in span:
        for column in span:
            found = windows.cut(torch.tensor([0, 1]), torch.tensor([[row, column]] * 2))
            assert (found.shape, found.dtype) == ((2, 1, FIELD, FIELD), torch.uint8)
            for number in range(2):
                expected = crop_by_hand(images[number, 0].numpy(), shift - row, shift - column)
                assert np.array_equal(found[number, 0].numpy(), expected)


def test_no_shift_is_the_centred_digit() -> None:
    images = digits()
    windows = RandomShift(images, SIZE, 0)
    offsets = windows.draw_offsets(6, torch.Generator().manual_seed(1))
    assert not offsets.any()
    found = windows.cut(torch.arange(6), offsets)
    assert torch.equal(found, torch.nn.functional.pad(images, (2, 2, 2, 2)))


def test_each_image_gets_its_own_offset() -> None:
    images = digits(3)
    windows = RandomShift(images, SIZE, 1)
    found = windows.cut(torch.tensor([2, 0, 2]), torch.tensor([[0, 0], [1, 1], [2, 1]]))
    expected = [
        crop_by_hand(images[2, 0].numpy(), 1, 1),
        crop_by_hand(images[0, 0].numpy(), 0, 0),
        crop_by_hand(images[2, 0].numpy(), -1, 0),
    ]
    assert np.array_equal(found[:, 0].numpy(), np.stack(expected))


@pytest.mark.parametrize("shift", [1, 3])
def test_offsets_are_even_over_their_range(shift: int) -> None:
    windows = RandomShift(digits(1), SIZE, shift)
    offsets = windows.draw_offsets(20_000, torch.Generator().manual_seed(1))
    assert offsets.shape == (20_000, 2)
    for axis in range(2):
        counts = torch.bincount(offsets[:, axis], minlength=2 * shift + 1)
        assert len(counts) == 2 * shift + 1
        expected = 20_000 / (2 * shift + 1)
        assert ((counts - expected).abs() < 6 * expected**0.5).all()
    assert abs(float(torch.corrcoef(offsets.T.double())[0, 1])) < 0.03


def test_the_same_generator_draws_the_same_offsets() -> None:
    windows = RandomShift(digits(1), SIZE, 2)
    first = windows.draw_offsets(50, torch.Generator().manual_seed(4))
    assert torch.equal(first, windows.draw_offsets(50, torch.Generator().manual_seed(4)))
    assert not torch.equal(first, windows.draw_offsets(50, torch.Generator().manual_seed(5)))


def test_cutting_leaves_the_images_as_they_were() -> None:
    images = digits()
    before = images.clone()
    windows = RandomShift(images, SIZE, 1)
    windows.cut(torch.arange(6), torch.zeros(6, 2, dtype=torch.long)).zero_()
    assert torch.equal(images, before)
    assert windows.cut(torch.tensor([0]), torch.tensor([[1, 1]])).any()


def test_channels_move_together_and_sides_may_differ() -> None:
    images = torch.from_numpy(np.random.default_rng(3).integers(1, 256, (2, 3, 5, 8), dtype=np.uint8))
    found = RandomShift(images, (9, 10), 1).cut(torch.tensor([1]), torch.tensor([[0, 2]]))
    expected = torch.nn.functional.pad(images[1:], (0, 2, 3, 1))
    assert torch.equal(found, expected)
