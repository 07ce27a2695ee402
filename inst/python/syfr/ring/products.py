"""Compiled matrix products and convolutions modulo 2^64.

NumPy has no fast product of 64-bit integers (BLAS has none); here four rows of the left side pass over the right
side together, so that each of its rows is read once for four results, and the inner loop vectorises.
"""

from __future__ import annotations

import numpy as np

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Pair = tuple[int, int]


@compiled("void(uint64[:,::1], uint64[:,::1], uint64[:,::1])")
def _accumulate(left: Words, right: Words, out: Words) -> None:
    rows, inner = left.shape
    columns = right.shape[1]
    row = 0
    while row + 4 <= rows:
        for k in range(inner):
            a = left[row, k]
            b = left[row + 1, k]
            c = left[row + 2, k]
            d = left[row + 3, k]
            for j in range(columns):
                factor = right[k, j]
                out[row, j] += a * factor
                out[row + 1, j] += b * factor
                out[row + 2, j] += c * factor
                out[row + 3, j] += d * factor
        row += 4
    while row < rows:
        for k in range(inner):
            a = left[row, k]
            for j in range(columns):
                out[row, j] += a * right[k, j]
        row += 1


@compiled(
    "void(uint64[:,:,:,::1], int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, uint64[:,::1])"
)
def _gather_windows(
    x: Words,
    kernel_height: int,
    kernel_width: int,
    stride_height: int,
    stride_width: int,
    top: int,
    left: int,
    dilation_height: int,
    dilation_width: int,
    out_height: int,
    out_width: int,
    out: Words,
) -> None:
    rows, height, width, channels = x.shape
    at = 0
    for row in range(rows):
        for y in range(out_height):
            for z in range(out_width):
                to = 0
                for ky in range(kernel_height):
                    source_y = y * stride_height - top + ky * dilation_height
                    for kx in range(kernel_width):
                        source_x = z * stride_width - left + kx * dilation_width
                        if 0 <= source_y < height and 0 <= source_x < width:
                            for channel in range(channels):
                                out[at, to + channel] = x[row, source_y, source_x, channel]
                        else:
                            for channel in range(channels):
                                out[at, to + channel] = 0
                        to += channels
                at += 1


def matmul_onto(left: Words, right: Words, out: Words) -> Words:
    """Add the product of ``left`` (..., inner) and ``right`` (inner, columns) onto ``out`` (..., columns)."""
    _require_contiguous(out)
    _accumulate(left.reshape(-1, right.shape[0]), right, out.reshape(-1, right.shape[1]))
    return out


def convolve_onto(
    x: Words, kernel: Words, strides: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int, out: Words
) -> Words:
    """Add the convolution of ``x`` onto ``out``.

    Args:
        x: (rows, height, width, channels).
        kernel: (height, width, channels / groups, channels out).
        strides, padding, dilation, groups: see :class:`syfr.program.Geometry`.
        out: (rows, height out, width out, channels out), changed in place.

    Returns:
        ``out``.
    """
    _require_contiguous(out)
    height, width, depth, channels_out = kernel.shape
    rows, out_height, out_width, _ = out.shape
    each = channels_out // groups
    windows = np.empty((rows * out_height * out_width, height * width * depth), np.uint64)
    for group in range(groups):
        part = x if groups == 1 else np.ascontiguousarray(x[..., group * depth : (group + 1) * depth])
        _gather_windows(
            part,
            height,
            width,
            *strides,
            padding[0][0],
            padding[1][0],
            *dilation,
            out_height,
            out_width,
            windows,
        )
        if groups == 1:
            _accumulate(windows, kernel.reshape(-1, channels_out), out.reshape(-1, channels_out))
            continue
        columns = slice(group * each, (group + 1) * each)
        partial = np.zeros((windows.shape[0], each), np.uint64)
        factors = np.ascontiguousarray(kernel[..., columns]).reshape(-1, each)
        _accumulate(windows, factors, partial)
        out[..., columns] += partial.reshape(rows, out_height, out_width, each)
    return out


def _require_contiguous(out: Words) -> None:
    if not out.flags.c_contiguous:
        raise ValueError("A product is added onto a contiguous array; another would be changed in a copy.")
