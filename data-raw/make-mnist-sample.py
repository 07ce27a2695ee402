"""Cut the bundled sample, the first 1,000 test images, from a full copy of MNIST.

Usage: python data-raw/make-mnist-sample.py MNIST.npz [inst/extdata/mnist-sample.npz]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

ROWS = 1000


def main() -> None:
    """Read the file given, write the sample."""
    parser = argparse.ArgumentParser(description="Cut the bundled sample from a full copy of MNIST.")
    parser.add_argument("mnist", type=Path, help="an .npz file with the arrays x_test and y_test, as Keras has it")
    parser.add_argument("sample", type=Path, nargs="?", default=Path("inst/extdata/mnist-sample.npz"))
    paths = parser.parse_args()

    with np.load(paths.mnist) as mnist:
        images, labels = mnist["x_test"][:ROWS], mnist["y_test"][:ROWS]
    np.savez_compressed(paths.sample, x_test=images.astype(np.uint8), y_test=labels.astype(np.uint8))


if __name__ == "__main__":
    main()
