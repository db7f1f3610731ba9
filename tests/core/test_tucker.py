"""Bottlenecks planted in a convolution are found; what occurs most is kept first."""

import pytest
import torch
from torch.nn import functional as F

from tests.core.toys import numbers
from vidstyle.features.tucker import Bottleneck, near_bottleneck


def run(part: Bottleneck, x: torch.Tensor) -> torch.Tensor:
    x = F.conv2d(F.conv2d(x, part.reduce), part.weight, part.bias, padding=1)
    return F.conv2d(x, part.expand, part.shift)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().sum() / other.square().sum())


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_a_planted_bottleneck_is_found(bias):
    """12 channels in and 10 out, by way of 4 and 6."""
    inner = numbers(6, 4, 3, 3)
    weight = torch.einsum("on,nmkl,mi->oikl", numbers(10, 6), inner, numbers(4, 12))
    # A bias of its own direction would be a seventh.
    shift = bias * torch.einsum("on,n->o", numbers(10, 6), numbers(6, seed=1))
    fed = numbers(2, 12, 20, 24, seed=2)
    given = F.conv2d(fed, weight, shift, padding=1)
    found = near_bottleneck(weight, shift, fed, given, 4, 6)
    assert relative(run(found, fed), given) < 1e-8
    poorer = near_bottleneck(weight, shift, fed, given, 3, 6)
    assert relative(run(poorer, fed), given) > 1e-3


def test_all_channels_are_the_convolution_itself():
    weight, shift, fed = numbers(10, 12, 3, 3), numbers(10), numbers(2, 12, 20, 24, seed=2)
    given = F.conv2d(fed, weight, shift, padding=1)
    found = near_bottleneck(weight, shift, fed, given, 12, 10)
    other = numbers(1, 12, 9, 9, seed=3)  # not only for what it was made for
    assert relative(run(found, other), F.conv2d(other, weight, shift, padding=1)) < 1e-8


def test_a_bias_comes_through_whatever_is_given_up():
    """Of ten directions three are kept: the bias of the others is a constant beside them."""
    weight, shift, fed = numbers(10, 12, 3, 3), numbers(10), numbers(8, 12, 40, 40, seed=2)
    given = F.conv2d(fed, weight, shift, padding=1)
    found = near_bottleneck(weight, shift, fed, given, 12, 3)
    left = (run(found, fed) - given).movedim(1, 0).flatten(1)
    assert left.mean(1).norm() < 0.2 * shift.norm()


def test_what_hardly_occurs_is_given_up_first():
    """Of eight channels four are a hundredth as strong: the kernel weighs them all alike."""
    weight, shift = numbers(10, 8, 3, 3), torch.zeros(10)
    strong = torch.tensor([1.0, 0.01] * 4).view(1, 8, 1, 1)
    fed = numbers(2, 8, 20, 24, seed=2) * strong
    given = F.conv2d(fed, weight, shift, padding=1)
    found = near_bottleneck(weight, shift, fed, given, 4, 10)
    assert relative(run(found, fed), given) < 1e-3
