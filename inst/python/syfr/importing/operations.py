"""The plain linear algebra of a network: what folding works on before a Program is made of it.

A model becomes a graph of operations on rows in the clear. Most are linear: Affine (a matrix product or a convolution,
with its bias), Scale (a factor and an offset for each channel); average pooling and zero padding are convolutions in
which a channel reads only the channel of the same number, channels last. The others are in elements.py and places.py.

A Program is public and must not depend on the weights, not even on whether some of them are zero. So what may be
folded is decided by flags that the architecture sets, never by looking at secret numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from syfr.steps import Geometry, Shape

Floats = NDArray[np.float64]


class Labelled(Protocol):
    """What came from some layers, by name."""

    @property
    def layer(self) -> str:
        """Their names."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The secret numbers of one Linear step, in the clear: its kernel and one bias a channel."""

    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)


@dataclass(frozen=True, eq=False)
class Affine:
    """A matrix product on the last axis, or a convolution when there is a geometry; and a bias.

    ``biased`` is False where the bias is zero by construction, ``public`` True for pooling and padding.
    """

    layer: str
    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    geometry: Geometry | None = None
    biased: bool = True
    public: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether it is a convolution in which every channel is computed from the same channel alone."""
        return self.geometry is not None and self.kernel.shape[2] == 1 and self.kernel.shape[3] == self.groups

    @property
    def groups(self) -> int:
        """Groups of the convolution; 1 for a matrix product."""
        return 1 if self.geometry is None else self.geometry.groups

    @property
    def padded(self) -> bool:
        """Whether it reads zeros around its input."""
        return self.geometry is not None and any(map(any, self.geometry.padding))

    def output_shape(self, shape: Shape) -> Shape:
        """A row of the result for a row of ``shape``."""
        channels = self.kernel.shape[-1]
        if self.geometry is None:
            return (*shape[:-1], channels)
        kernel = (self.kernel.shape[0], self.kernel.shape[1])
        return (*self.geometry.output_size((shape[0], shape[1]), kernel), channels)

    def products(self, shape: Shape) -> int:
        """Multiply-adds for a row of ``shape``."""
        return math.prod(self.kernel.shape[:-1]) * math.prod(self.output_shape(shape))


@dataclass(frozen=True, eq=False)
class Scale:
    """A factor and an offset for each channel of the last axis: batch normalisation, rescaling.

    ``biased`` is False where the offset is zero, ``uniform`` True where all channels have the same two numbers, both
    by construction; ``public`` True where the architecture alone says the factor, as in a mean.
    """

    layer: str
    factor: Floats = field(repr=False)
    offset: Floats = field(repr=False)
    biased: bool = True
    uniform: bool = False
    public: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True, eq=False)
class Lookup:
    """The rows of a table that whole numbers name: only on an input, where tokens.py makes a matrix product of it."""

    layer: str
    table: Floats = field(repr=False)

    def output_shape(self, shape: Shape) -> Shape:
        """A row of the table for each number."""
        return (*shape, self.table.shape[1])


def average_pooling(layer: str, size: tuple[int, int], strides: tuple[int, int], channels: int) -> Affine:
    """The mean of every complete window."""
    kernel = np.full((*size, 1, channels), 1.0 / math.prod(size))
    geometry = Geometry(strides=strides, groups=channels)
    return Affine(layer, kernel, np.zeros(channels), geometry, biased=False, public=True)


def zero_padding(layer: str, padding: tuple[tuple[int, int], tuple[int, int]], channels: int) -> Affine:
    """Rows and columns of zeros around the image."""
    kernel = np.ones((1, 1, 1, channels))
    geometry = Geometry(padding=padding, groups=channels)
    return Affine(layer, kernel, np.zeros(channels), geometry, biased=False, public=True)


def only_pads(operation: object) -> bool:
    """Whether the operation does nothing but put zeros, or none, around the image."""
    return (
        isinstance(operation, Affine)
        and operation.public
        and operation.geometry is not None
        and operation.geometry == Geometry(padding=operation.geometry.padding, groups=operation.groups)
        and operation.kernel.shape[:2] == (1, 1)
    )


def is_mean(operation: Affine) -> bool:
    """Whether the operation only adds up windows and divides by one positive number."""
    return operation.public and bool(np.all(operation.kernel == operation.kernel.flat[0]))


def diagonal(scale: Scale, shape: Shape) -> Affine:
    """A Scale as an Affine: a depthwise 1 x 1 convolution of an image, else a diagonal matrix."""
    if len(shape) == 3:
        kernel = scale.factor.reshape(1, 1, 1, -1)
        return Affine(scale.layer, kernel, scale.offset, Geometry(groups=scale.factor.size), scale.biased)
    return Affine(scale.layer, np.diag(scale.factor), scale.offset, biased=scale.biased)


def identity(layer: str, channels: int) -> Scale:
    """A Scale that changes nothing."""
    return Scale(layer, np.ones(channels), np.zeros(channels), biased=False, uniform=True)


def input_channels(affine: Affine) -> NDArray[np.intp]:
    """The input channel that each entry of a convolution's kernel[y, x] reads, shape of kernel[y, x]."""
    inner, outputs = affine.kernel.shape[2:]
    group = np.arange(outputs) // (outputs // affine.groups)
    return np.arange(inner)[:, None] + inner * group[None, :]


def pull_back(conv: Affine, shape: Shape, matrix: Affine, layer: str) -> Affine:
    """One matrix product that does ``conv`` on a row of ``shape`` and ``matrix`` on all its results."""
    geometry = conv.geometry
    if geometry is None:
        raise ValueError("pull_back() takes a convolution")
    height, width, channels = conv.output_shape(shape)
    groups, columns = geometry.groups, matrix.kernel.shape[1]
    (top, bottom), (left, right) = geometry.padding
    per_group = channels // groups
    behind = matrix.kernel.reshape(height, width, groups, per_group, columns)
    padded = np.zeros((shape[0] + top + bottom, shape[1] + left + right, groups, shape[2] // groups, columns))
    for y in range(conv.kernel.shape[0]):
        for x in range(conv.kernel.shape[1]):
            tap = conv.kernel[y, x].reshape(-1, groups, per_group).transpose(1, 0, 2)
            rows = y * geometry.dilation[0] + geometry.strides[0] * np.arange(height)
            columns_read = x * geometry.dilation[1] + geometry.strides[1] * np.arange(width)
            padded[np.ix_(rows, columns_read)] += tap @ behind
    kernel = padded[top : top + shape[0], left : left + shape[1]].reshape(math.prod(shape), columns)
    bias = matrix.bias + np.tile(conv.bias, height * width) @ matrix.kernel
    return Affine(layer, np.ascontiguousarray(kernel), bias, biased=conv.biased or matrix.biased)


LABEL_LENGTH = 200


def label_of(*operations: Labelled) -> str:
    """The names of all the layers that operations came from, for messages."""
    names: list[str] = []
    for operation in operations:
        names.extend(name for name in operation.layer.split(" + ") if name not in names)
    label = " + ".join(names)
    return label if len(label) <= LABEL_LENGTH else f"{names[0]} + ... + {names[-1]}"[:LABEL_LENGTH]
