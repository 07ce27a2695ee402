"""Gives Keras models the methods share(), serve(), stop(), shutdown_workers() and fix_precision().

These block, and print how far they are; in R use sy_share() and its like, which can be interrupted safely there.
"""

from __future__ import annotations

from typing import Any

from syfr.errors import InputTypeError
from syfr.face import owner
from syfr.face.cluster import cluster_argument
from syfr.face.progress import show


class KerasHook:
    """Add the methods to every model, made before or after, of a Keras module such as ``tf.keras``.

    Hooking twice is the same as hooking once.
    """

    def __init__(self, keras: Any) -> None:
        model_class = getattr(keras, "Model", None)
        if not isinstance(model_class, type):
            raise InputTypeError("This is not a Keras module: it has no class Model. Give keras or tf.keras.")
        for name, method in METHODS.items():
            setattr(model_class, name, method)
        self.keras = keras

    def __repr__(self) -> str:
        return f"KerasHook({getattr(self.keras, '__name__', 'keras')})"


def share(
    self: object,
    *cluster: object,
    name: str | None = None,
    input_range: object = (0.0, 1.0),
    untrusted_clients: object = False,
    timeout: float = owner.SHARE_SECONDS,
    **options: object,
) -> None:
    """Share this model's weights with a cluster, or with three workers, starting those that do not run yet.

    Args:
        cluster: a TFECluster, or three TFEWorker: server0, server1 and the dealer.
        name: how clients may call it; by default the model's own name.
        input_range: smallest and largest value of an input.
        untrusted_clients: whether to compute in the way in which no client can send other inputs; it takes longer.
        options: precision, output, k, digits, classes, calibrate, allow_unproven; see imports.imported().
    """
    task = owner.sharing(
        self,
        cluster_argument(cluster),
        name=name,
        input_range=input_range,
        untrusted_clients=untrusted_clients,
        timeout=timeout,
        **options,
    )
    task.wait(progress=show)


def serve(self: object, num_requests: object = None, per_client: object = None) -> int:
    """Let clients query this model until so many requests were answered, or until interrupted; returns how many were.

    Each client may ask for ``per_client`` rows. The model stays shared: serve() opens it again.
    """
    return owner.shared_model(self).serving(num_requests, per_client).wait(progress=show)


def stop(self: object) -> None:
    """Stop serving this model and delete its shares; the workers go on running."""
    owner.shared_model(self).dropping().wait()
    owner.forget(self)


def shutdown_workers(self: object) -> list[dict[str, Any]]:
    """End the workers this session has started, and say what to stop where for the others. Shares are lost."""
    report = owner.shared_model(self).shutting_down().wait(progress=show)
    owner.forget(self)
    return report


def fix_precision(self: object, digits: int | None = None) -> Any:
    """This model, ready to be shared for private tensors: ``.share(alice, bob, crypto_provider=carol)``."""
    from syfr.tensors import network

    return network.keras_model(self, digits)


METHODS = {
    "share": share,
    "serve": serve,
    "stop": stop,
    "shutdown_workers": shutdown_workers,
    "fix_precision": fix_precision,
}
