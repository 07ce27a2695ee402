"""A small transformer that reads a text and says which of two kinds it is: layers as usual, weights at random.

As the networks of ``keras.applications`` it is here for its size: what is measured does not depend on the weights.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS, WIDTH, TOKENS, HEADS, VOCABULARY = 4, 128, 64, 4, 1_000


def transformer(
    keras: ModuleType,
    *,
    layers: int = LAYERS,
    width: int = WIDTH,
    tokens: int = TOKENS,
    heads: int = HEADS,
    vocabulary: int = VOCABULARY,
    kinds: int = 2,
    seed: int = 1,
) -> Any:
    """A model on rows of ``tokens`` whole numbers below ``vocabulary``; from Keras 2 or 3."""
    keras.utils.set_random_seed(seed)
    k = keras.layers
    read = keras.Input((tokens,), name="tokens")
    x = _words_and_places(keras, vocabulary, tokens, width)(read)
    for number in range(1, layers + 1):
        found = k.MultiHeadAttention(heads, width // heads, name=f"attention_{number}")(x, x)
        x = k.LayerNormalization(name=f"normal_{number}_a")(k.Add()([x, found]))
        found = k.Dense(4 * width, activation="gelu", name=f"wide_{number}")(x)
        found = k.Dense(width, name=f"narrow_{number}")(found)
        x = k.LayerNormalization(name=f"normal_{number}_b")(k.Add()([x, found]))
    x = k.GlobalAveragePooling1D(name="pooled")(x)
    return keras.Model(read, k.Dense(kinds, activation="softmax", name="kind")(x), name="Transformer")


def _words_and_places(keras: ModuleType, vocabulary: int, tokens: int, width: int) -> Any:
    """The layer of Keras's own examples: a vector for each word, and one for each place in the text, added."""

    class WordsAndPlaces(keras.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__(name="words_and_places")
            self.words = keras.layers.Embedding(vocabulary, width, name="words")
            self.places = keras.layers.Embedding(tokens, width, name="places")

        def call(self, read: Any) -> Any:
            return self.words(read) + self.places(np.arange(tokens))

    return WordsAndPlaces()


def texts(rows: int, tokens: int = TOKENS, vocabulary: int = VOCABULARY, seed: int = 7) -> NDArray[np.int64]:
    """Rows of random tokens."""
    return np.random.default_rng(seed).integers(0, vocabulary, (rows, tokens))
