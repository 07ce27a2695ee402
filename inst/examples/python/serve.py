"""Step 2, the owner of the model: start three workers, share the model among them, serve three requests.

Run it in the folder with short-conv-mnist.h5, and client.py in another terminal when it says so.
"""

import syfr as sy
import tensorflow as tf
from train import conv_model

hook = sy.KerasHook(tf.keras)

# One request is a batch of one image.
model = conv_model(batch=1)
model.load_weights("short-conv-mnist.h5")

alice = sy.TFEWorker(host="localhost:4000", auto_managed=True)
bob = sy.TFEWorker(host="localhost:4001", auto_managed=True)
carol = sy.TFEWorker(host="localhost:4002", auto_managed=True)

cluster = sy.TFECluster(alice, bob, carol)
cluster.start()

# Each worker gets a share, from which it can tell nothing.
model.share(cluster)

print("Serving three requests. Now run client.py in another terminal.", flush=True)
model.serve(num_requests=3)

# The model is still shared, but no longer served. This deletes the shares, and then ends the workers.
model.stop()
cluster.stop()
