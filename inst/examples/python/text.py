"""A text classifier on private text: train a small transformer, share it, ask it. Owner and client in one script.

The sentences are made here. Whether one praises or complains hangs on two words together: "good" praises, "not good"
complains. The client's sentences are shared word by word, and no worker can read them, nor the model.
"""

import os
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import syfr as sy
from syfr.errors import NotServedError

LENGTH, WIDTH, HEADS = 8, 16, 2

PRAISE, COMPLAINT = ["good", "great", "fine", "lovely", "fresh"], ["bad", "awful", "dull", "poor", "stale"]
NEGATIONS, DEGREES = ["not", "never"], ["very", "quite", "really"]
THINGS, VERBS, ENDS = ["film", "book", "meal", "trip", "room"], ["was", "seemed", "felt"], ["today", "again"]
VOCABULARY = ["", "the", "a", *THINGS, *VERBS, *NEGATIONS, *DEGREES, *PRAISE, *COMPLAINT, *ENDS]
KINDS = ("complains", "praises")


def sentence(random: np.random.Generator) -> tuple[list[str], int]:
    """A sentence, and its kind."""
    praises, negated = random.integers(0, 2, 2)
    words = [random.choice(["the", "a"]), random.choice(THINGS), random.choice(VERBS)]
    words += [random.choice(NEGATIONS)] if negated else []
    words += [random.choice(DEGREES)] if random.integers(0, 2) else []
    words += [random.choice(PRAISE if praises else COMPLAINT)]
    words += [random.choice(ENDS)] if random.integers(0, 2) else []
    return words, int(praises ^ negated)


def tokens(words: list[str]) -> list[int]:
    """The numbers of the words, with zeros behind them."""
    return [VOCABULARY.index(word) for word in words] + [0] * (LENGTH - len(words))


def waves() -> np.ndarray:
    """What is added for a word's place in the sentence: waves of several lengths."""
    angles = np.arange(LENGTH)[:, None] / 100.0 ** (np.arange(0, WIDTH, 2) / WIDTH)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(LENGTH, WIDTH).astype(np.float32)


def classifier() -> keras.Model:
    """One layer of a transformer."""
    layers = keras.layers
    read = keras.Input((LENGTH,))
    x = layers.Embedding(len(VOCABULARY), WIDTH)(read) + waves()
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x))
    wide = layers.Dense(2 * WIDTH, activation="gelu")(x)
    x = layers.LayerNormalization()(x + layers.Dense(WIDTH)(wide))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(read, layers.Dense(len(KINDS), activation="softmax")(x))


keras.utils.set_random_seed(1)
random = np.random.default_rng(1)
made = [sentence(random) for _ in range(2_000)]
x, y = np.array([tokens(words) for words, _ in made]), np.array([kind for _, kind in made])

model = classifier()
model.compile(optimizer=keras.optimizers.Adam(0.005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:1_500], y[:1_500], batch_size=32, epochs=6, verbose=0)
print(f"Right about {model.evaluate(x[1_500:], y[1_500:], verbose=0)[1]:.0%} of sentences that it has not seen.")

cluster = sy.local_cluster()
cluster.start()

# What the weights allow is more than the number format holds, as in most transformers: sentences say what occurs.
sy.KerasHook(keras)
model.share(cluster, calibrate=x[:100], allow_unproven=True, classes=KINDS)
serving = threading.Thread(target=model.serve, kwargs={"num_requests": 4})
serving.start()

# The client, who could as well be elsewhere: it has the vocabulary, and nothing of the model.
client = sy.TFEWorker()
while True:
    try:
        client.connect_to_model((1, LENGTH), (1, len(KINDS)), cluster)
        break
    except NotServedError:
        time.sleep(0.1)

for text in (
    "the film was good",
    "the film was not good",
    "a trip felt never really awful today",
    "the meal seemed very stale again",
):
    probabilities = client.query_model(np.array([tokens(text.split())]))[0]
    print(f"{text:<40} {KINDS[probabilities.argmax()]} ({probabilities.max():.3f})")

client.disconnect()
serving.join()
model.stop()
cluster.stop()
