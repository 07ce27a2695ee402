"""Compiled matrix products and convolutions modulo 2^64.

NumPy has no fast product of 64-bit integers (BLAS has none). Here four rows of the left side meet four rows of the
right side at a time: sixteen products for each four numbers that are loaded and stored, in an inner loop that
vectorises. The right side is taken in blocks that stay in the cache while all rows of the left side pass over them.
"""

from __future__ import annotations

import numpy as np

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Pair = tuple[int, int]
Place = tuple[int, int, int, int, int, int]
"""Strides, padding above and to the left, dilation."""

BLOCK_WORDS = 1 << 16
"""Words of the right side that stay in the cache."""

WINDOW_WORDS = 1 << 18
"""Words of the windows of a convolution that are gathered at a time."""


@compiled("void(uint64[:,::1], int64, int64, uint64[:,::1], uint64[:,::1])")
def _four_rows(left: Words, start: int, stop: int, right: Words, out: Words) -> None:
    o0, o1, o2, o3 = out[0], out[1], out[2], out[3]
    for k in range(start, stop, 4):
        r0, r1, r2, r3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        a0, a1, a2, a3 = left[0, k], left[0, k + 1], left[0, k + 2], left[0, k + 3]
        b0, b1, b2, b3 = left[1, k], left[1, k + 1], left[1, k + 2], left[1, k + 3]
        c0, c1, c2, c3 = left[2, k], left[2, k + 1], left[2, k + 2], left[2, k + 3]
        d0, d1, d2, d3 = left[3, k], left[3, k + 1], left[3, k + 2], left[3, k + 3]
        for j in range(right.shape[1]):
            x0, x1, x2, x3 = r0[j], r1[j], r2[j], r3[j]
            o0[j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            o1[j] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            o2[j] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
            o3[j] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@compiled("void(uint64[::1], int64, int64, uint64[:,::1], uint64[::1])")
def _one_row(left: Words, start: int, stop: int, right: Words, out: Words) -> None:
    k = start
    while k + 4 <= stop:
        r0, r1, r2, r3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        a, b, c, d = left[k], left[k + 1], left[k + 2], left[k + 3]
        for j in range(out.size):
            out[j] += a * r0[j] + b * r1[j] + c * r2[j] + d * r3[j]
        k += 4
    while k < stop:
        a = left[k]
        for j in range(out.size):
            out[j] += a * right[k, j]
        k += 1


@compiled("void(uint64[:,::1], uint64[:,::1], uint64[:,::1])")
def _accumulate(left: Words, right: Words, out: Words) -> None:
    rows, inner = left.shape
    block = max(4, BLOCK_WORDS // max(1, right.shape[1]) // 4 * 4)
    for start in range(0, inner, block):
        stop = min(inner, start + block)
        fours = stop - (stop - start) % 4
        row = 0
        while row + 4 <= rows:
            _four_rows(left[row : row + 4], start, fours, right, out[row : row + 4])
            if fours < stop:
                for each in range(row, row + 4):
                    _one_row(left[each], fours, stop, right, out[each])
            row += 4
        while row < rows:
            _one_row(left[row], start, stop, right, out[row])
            row += 1


@compiled("void(uint64[:,:,:,::1], uint64[:,:,::1], int64, int64, int64, int64, int64, int64, uint64[:,:,:,::1])")
def _each_channel(
    x: Words,
    kernel: Words,
    stride_height: int,
    stride_width: int,
    top: int,
    left: int,
    dilation_height: int,
    dilation_width: int,
    out: Words,
) -> None:
    rows, height, width, _ = x.shape
    for row in range(rows):
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                here = out[row, y, z]
                for ky in range(kernel.shape[0]):
                    source_y = y * stride_height - top + ky * dilation_height
                    for kx in range(kernel.shape[1]):
                        source_x = z * stride_width - left + kx * dilation_width
                        if 0 <= source_y < height and 0 <= source_x < width:
                            values, factors = x[row, source_y, source_x], kernel[ky, kx]
                            for channel in range(here.size):
                                here[channel] += values[channel] * factors[channel]


@compiled(
    "void(uint64[:,:,:,::1], int64, int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, uint64[:,::1])"
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
    first: int,
    out: Words,
) -> None:
    _, height, width, channels = x.shape
    line = kernel_width * channels
    values, windows = x.reshape(-1), out.reshape(-1)
    for at in range(out.shape[0]):
        place = first + at
        row, place = place // (out_height * out_width), place % (out_height * out_width)
        y, z = place // out_width, place % out_width
        to = 0
        begin = z * stride_width - left
        inside = dilation_width == 1 and begin >= 0 and begin + kernel_width <= width
        for ky in range(kernel_height):
            source_y = y * stride_height - top + ky * dilation_height
            if inside and 0 <= source_y < height:
                source = np.uint64(((row * height + source_y) * width + begin) * channels)
                target = np.uint64(at * out.shape[1] + to)
                for i in range(line):
                    windows[target + np.uint64(i)] = values[source + np.uint64(i)]
                to += line
                continue
            for kx in range(kernel_width):
                source_x = z * stride_width - left + kx * dilation_width
                if 0 <= source_y < height and 0 <= source_x < width:
                    for channel in range(channels):
                        out[at, to + channel] = x[row, source_y, source_x, channel]
                else:
                    for channel in range(channels):
                        out[at, to + channel] = 0
                to += channels


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
    depth, channels_out = kernel.shape[2:]
    place = (*strides, padding[0][0], padding[1][0], *dilation)
    if depth == 1 and channels_out == groups:
        _each_channel(x, kernel[:, :, 0], *place, out)
        return out
    if groups == 1:
        _convolve_group(x, kernel, place, out)
        return out
    each = channels_out // groups
    for group in range(groups):
        columns = slice(group * each, (group + 1) * each)
        partial = np.zeros((*out.shape[:3], each), np.uint64)
        part = np.ascontiguousarray(x[..., group * depth : (group + 1) * depth])
        _convolve_group(part, np.ascontiguousarray(kernel[..., columns]), place, partial)
        out[..., columns] += partial
    return out


def _convolve_group(x: Words, kernel: Words, place: Place, out: Words) -> None:
    height, width, _, channels_out = kernel.shape
    factors, results = kernel.reshape(-1, channels_out), out.reshape(-1, channels_out)
    if height == width == 1 and place[:4] == (1, 1, 0, 0) and x.shape[1:3] == out.shape[1:3]:
        _accumulate(x.reshape(results.shape[0], -1), factors, results)
        return
    places = max(16, WINDOW_WORDS // factors.shape[0])
    windows = np.empty((min(places, results.shape[0]), factors.shape[0]), np.uint64)
    for first in range(0, results.shape[0], places):
        some = results[first : first + places]
        _gather_windows(x, height, width, *place, out.shape[1], out.shape[2], first, windows[: len(some)])
        _accumulate(windows[: len(some)], factors, some)


def _require_contiguous(out: Words) -> None:
    if not out.flags.c_contiguous:
        raise ValueError("A product is added onto a contiguous array; another would be changed in a copy.")
