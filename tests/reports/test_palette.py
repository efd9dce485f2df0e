"""Colours that have to be told apart can be, with any of the common colour visions, on their background."""

import itertools

import numpy as np
import pytest

from evermap.reports.palette import palette

# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15:1291), severity 1, for linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_told_apart(vision: str, dark: bool) -> None:
    found = palette(dark)
    pairs = [*itertools.combinations([f"s{k}" for k in range(8)], 2), ("gain", "loss"), ("loss", "s0"), ("loss", "s5")]
    seen = {name: lab(VISIONS[vision] @ linear(colour)) for name, colour in found.items()}
    close = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in pairs}
    assert min(close.values()) > 12, min(close, key=close.get)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_stand_out_from_the_paper(dark: bool) -> None:
    found = palette(dark)
    weight = np.array([0.2126, 0.7152, 0.0722])
    paper = linear(found["paper"]) @ weight
    for name in [*(f"s{k}" for k in range(8)), "gain", "loss", "accent"]:  # WCAG 2.2, 1.4.11: 3 : 1 for graphics
        low, high = sorted((float(linear(found[name]) @ weight), float(paper)))
        assert (high + 0.05) / (low + 0.05) >= 3, name
