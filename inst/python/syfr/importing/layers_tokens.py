"""Layers on tokens: Embedding."""

from __future__ import annotations

from syfr.importing.calls import Call, refuse, weight
from syfr.importing.operations import Lookup


def embedding(call: Call) -> int:
    """Embedding."""
    if call.layer.mask_zero:
        refuse(
            call.layer,
            "uses mask_zero=True, so that layers behind it leave steps out",
            "Use mask_zero=False and pad with a token of its own.",
        )
    return call.apply(Lookup(call.name, weight(call.layer, "embeddings")))
