"""Step 3, a client: ask for predictions, without seeing the model or showing the images. Needs no TensorFlow.

Run it while serve.py serves. The images come from the file that SYFR_MNIST names, else from the sample beside.
"""

import os
from pathlib import Path

import numpy as np
import syfr as sy

# The same three workers as the owner describes. A client starts none of them.
alice = sy.TFEWorker(host="localhost:4000", auto_managed=True)
bob = sy.TFEWorker(host="localhost:4001", auto_managed=True)
carol = sy.TFEWorker(host="localhost:4002", auto_managed=True)
cluster = sy.TFECluster(alice, bob, carol)

client = sy.TFEWorker()
client.connect_to_model((1, 28, 28, 1), (1, 10), cluster)

sample = Path(__file__).parents[2] / "extdata" / "mnist-sample.npz"
with np.load(os.environ.get("SYFR_MNIST", sample)) as file:
    images, digits = file["x_test"][:3] / 255.0, file["y_test"][:3]

for image, digit in zip(images, digits, strict=True):
    probabilities = client.query_model(image)
    print(f"Actual: {digit}, predicted: {np.argmax(probabilities)}")

client.disconnect()
