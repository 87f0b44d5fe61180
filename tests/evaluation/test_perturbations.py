from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lenet.evaluation import perturbations


@pytest.fixture
def digits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(40, 28, 28, dtype=torch.uint8)
    images[:, 4:24, 4:24] = torch.randint(0, 256, (40, 20, 20), dtype=torch.uint8, generator=generator)
    return images


def dots(size: int, *places: tuple[int, int]) -> Tensor:
    image = torch.zeros(1, size, size, dtype=torch.uint8)
    for row, column in places:
        image[0, row, column] = 200
    return image


def test_shift_by_hand(digits: Tensor) -> None:
    moved = perturbations.shift(digits, 3, -2)
    assert torch.equal(moved, digits.roll((-2, 3), dims=(1, 2)))
    assert perturbations.shift(dots(5, (0, 4)), 1, 0).sum() == 0  # out of the frame is lost
    half = perturbations.shift(dots(5, (2, 2)), 0.5, 0)
    assert half[0, 2].tolist() == [0, 0, 100, 100, 0]


def test_each_image_is_shifted_in_one_of_four_directions(digits: Tensor) -> None:
    moved = perturbations.shift_anywhere(digits, 14)  # percent of 28 pixels: 4
    steps = [(-4, 0), (4, 0), (0, -4), (0, 4)]
    candidates = torch.stack([digits.roll(step, dims=(1, 2)) for step in steps])
    fits = (moved == candidates).all(dim=(2, 3))
    assert fits.sum(dim=0).tolist() == [1] * 40
    assert (fits.sum(dim=1) > 0).all()
    assert torch.equal(perturbations.shift_anywhere(digits, 14), moved)


def test_scale_by_hand() -> None:
    image = dots(4, (1, 1), (1, 2), (2, 1), (2, 2))
    assert (perturbations.scale(image, 2.0)[0] >= 112).all()  # 200 · (3/4)² at the corners of the frame
    assert perturbations.scale(image, 2.0)[0, 1:3, 1:3].tolist() == [[200, 200], [200, 200]]
    assert perturbations.scale(torch.full((1, 4, 4), 120, dtype=torch.uint8), 0.5)[0].tolist() == [
        [0, 0, 0, 0],
        [0, 120, 120, 0],
        [0, 120, 120, 0],
        [0, 0, 0, 0],
    ]


def test_a_quarter_turn_is_exact_and_against_the_clock(digits: Tensor) -> None:
    turned = perturbations.rotate(digits, 90)
    assert np.array_equal(turned.numpy(), np.rot90(digits.numpy(), axes=(1, 2)))
    assert torch.equal(perturbations.rotate(perturbations.rotate(digits, 90), -90), digits)
    assert perturbations.rotate(dots(5, (2, 4)), 90).nonzero().tolist() == [[0, 0, 2]]  # from the right to the top


def test_shear_by_hand() -> None:
    bar = dots(5, (0, 2), (1, 2), (2, 2), (3, 2), (4, 2))
    assert perturbations.shear(bar, 45).nonzero()[:, 1:].tolist() == [[0, 4], [1, 3], [2, 2], [3, 1], [4, 0]]
    assert perturbations.shear(bar, -45).nonzero()[:, 1:].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]


def test_gaussian_noise_has_the_deviation_that_was_asked_for() -> None:
    grey = torch.full((50, 28, 28), 128, dtype=torch.uint8)
    noisy = perturbations.add_gaussian_noise(grey, 0.1).float()
    assert noisy.mean().item() == pytest.approx(128, abs=0.6)
    assert noisy.std().item() == pytest.approx(25.5, rel=0.02)
    strong = perturbations.add_gaussian_noise(grey, 2.0)
    assert (strong.min().item(), strong.max().item()) == (0, 255)
    same_side = (noisy > 128) & (strong < 128)
    assert not same_side.any()  # the same draws, only larger


def test_salt_and_pepper_set_the_fraction_that_was_asked_for() -> None:
    grey = torch.full((50, 28, 28), 128, dtype=torch.uint8)
    few, many = (perturbations.add_salt_and_pepper(grey, fraction) for fraction in (0.1, 0.4))
    for noisy, fraction in ((few, 0.1), (many, 0.4)):
        assert (noisy == 255).float().mean().item() == pytest.approx(fraction / 2, abs=0.005)
        assert (noisy == 0).float().mean().item() == pytest.approx(fraction / 2, abs=0.005)
    assert torch.equal(many[few != 128], few[few != 128])
    everything = perturbations.add_salt_and_pepper(grey, 1.0)
    assert ((everything == 0) | (everything == 255)).all()


@pytest.mark.parametrize(
    "same",
    [
        lambda images: perturbations.shift(images, 0, 0),
        lambda images: perturbations.shift_anywhere(images, 0),
        lambda images: perturbations.scale(images, 1.0),
        lambda images: perturbations.rotate(images, 0),
        lambda images: perturbations.shear(images, 0),
        lambda images: perturbations.add_gaussian_noise(images, 0),
        lambda images: perturbations.add_salt_and_pepper(images, 0),
    ],
)
def test_nothing_done_changes_nothing(digits: Tensor, same: object) -> None:
    before = digits.clone()
    found = same(digits)  # type: ignore[operator]
    assert torch.equal(found, before)
    assert (found.dtype, found.shape) == (torch.uint8, (40, 28, 28))
    assert torch.equal(digits, before)


@pytest.mark.parametrize("kind", ["shift", "scale", "rotate", "shear"])
def test_channels_move_together_and_a_frame_need_not_be_square(kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    square = torch.randint(0, 256, (3, 2, 11, 11), dtype=torch.uint8, generator=generator)
    change = {"shift": (3, 1), "scale": (0.7,), "rotate": (37,), "shear": (20,)}[kind]
    apply = getattr(perturbations, kind)
    found = apply(square, *change)
    assert torch.equal(found[:, 1], apply(square[:, 1].contiguous(), *change))
    wide, large = (torch.nn.functional.pad(square, margins) for margins in ((4, 4), (4, 4, 4, 4)))
    assert torch.equal(apply(wide, *change)[..., 2:9, 6:13], apply(large, *change)[..., 6:13, 6:13])
