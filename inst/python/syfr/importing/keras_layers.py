"""The Keras layers that are supported, by the name of their Keras class: a call of a layer -> operations of a graph.

A class of the user's own is taken for the Keras class it inherits from only while it leaves call() alone. What is not
computed as Keras does is refused, naming layer, argument and remedy.
"""

from __future__ import annotations

from collections.abc import Callable

from syfr.importing import (
    layers_attention,
    layers_linear,
    layers_merge,
    layers_normalization,
    layers_pooling,
    layers_recurrent,
    layers_shapes,
    layers_tokens,
)
from syfr.importing.calls import Call, KerasObject, keras_class, refuse
from syfr.importing.layers_activations import LAYERS as ACTIVATIONS
from syfr.importing.layers_operators import OPERATORS, operator_name

__all__ = ["KerasObject", "convert"]

Handler = Callable[[Call], "int | tuple[int, ...]"]
"""From a call to the value that the layer gives, or to all of them if it gives several."""


def convert(call: Call, which: int = 0) -> tuple[int, ...]:
    """The values that a layer gives where the model calls it; the call's output shape is of the one numbered so."""
    known = keras_class(type(call.layer))
    if known is None:
        refuse(
            call.layer,
            "is a custom layer, whose code cannot be run on shares",
            "Write it with Keras's own layers, for example Dense, Conv2D, BatchNormalization and ReLU.",
        )
    handler = _handler(call.layer, known)
    if getattr(call.layer, "quantization_mode", None) is not None:
        refuse(call.layer, "is quantized", "Share the model as it was before quantize().")
    given = handler(call)
    found = given if isinstance(given, tuple) else (given,)
    shape = call.graph.shape_of(found[which], call.sources, call.input_shapes)
    if shape != call.output_shape:
        problem = f"gives {call.output_shape} in Keras but {shape} here"
        refuse(call.layer, problem, "Please report this model.")
    return found


def _handler(layer: KerasObject, known: type) -> Handler:
    is_layer = any(base.__name__ == "Layer" and keras_class(base) is base for base in known.__mro__)
    name = operator_name(layer)
    handler: Handler | None
    if name is not None or not is_layer:
        handler = OPERATORS.get(name or known.__name__)
        if handler is None:
            refuse(
                layer, f"is the operation '{name or known.__name__}', which cannot be computed privately", _OPERATION
            )
        return handler
    handler = HANDLERS.get(known.__name__)
    if handler is None:
        refuse(layer, "cannot be computed privately", _HINTS.get(known.__name__, _SUPPORTED))
    return handler


def _nothing(call: Call) -> int:
    return call.sources[0]


def _ranked(handler: Callable[[Call, int], int], rank: int) -> Callable[[Call], int]:
    return lambda call: handler(call, rank)


HANDLERS: dict[str, Handler] = {
    **ACTIVATIONS,
    "Dense": layers_linear.dense,
    "Conv1D": layers_linear.conv1d,
    "Conv2D": layers_linear.conv2d,
    "Embedding": layers_tokens.embedding,
    **dict.fromkeys(layers_recurrent.LAYERS, layers_recurrent.recurrent),
    "Bidirectional": layers_recurrent.bidirectional,
    "BatchNormalization": layers_linear.batch_normalization,
    "SyncBatchNormalization": layers_linear.batch_normalization,
    "LayerNormalization": layers_normalization.layer_normalization,
    "RMSNormalization": layers_normalization.rms_normalization,
    "GroupNormalization": layers_normalization.group_normalization,
    "UnitNormalization": layers_normalization.unit_normalization,
    "Dot": layers_attention.dot,
    "Attention": layers_attention.attention,
    "MultiHeadAttention": layers_attention.multi_head_attention,
    "Rescaling": layers_linear.rescaling,
    "Normalization": layers_linear.normalization,
    "Flatten": layers_shapes.flatten,
    "Reshape": layers_shapes.reshape,
    "Permute": layers_shapes.permute,
    "RepeatVector": layers_shapes.repeat_vector,
    "Add": layers_merge.add,
    "Subtract": layers_merge.subtract,
    "Average": layers_merge.average,
    "Multiply": layers_merge.multiply,
    "Maximum": layers_merge.maximum,
    "Minimum": lambda call: layers_merge.maximum(call, -1.0),
    "Concatenate": layers_merge.concatenate,
    **{
        f"{name}{rank}D": _ranked(handler, rank)
        for rank in (1, 2)
        for name, handler in {
            "DepthwiseConv": layers_linear.depthwise,
            "SeparableConv": layers_linear.separable,
            "AveragePooling": layers_pooling.average,
            "MaxPooling": layers_pooling.maximum,
            "GlobalAveragePooling": lambda call, rank: layers_pooling.global_pooling(call, rank, False),
            "GlobalMaxPooling": lambda call, rank: layers_pooling.global_pooling(call, rank, True),
            "ZeroPadding": layers_shapes.zero_padded,
            "Cropping": layers_shapes.cropped,
            "UpSampling": layers_shapes.upsampled,
        }.items()
    },
    "Conv1DTranspose": lambda call: layers_linear.transposed(call, 1),
    "Conv2DTranspose": lambda call: layers_linear.transposed(call, 2),
    **dict.fromkeys(
        (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "InputLayer",
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "SpatialDropout1D",
            "SpatialDropout2D",
        ),
        _nothing,
    ),
}
"""What each layer becomes."""

WHOLE = ("Activation", "Dense", "Dropout", "Embedding", "LeakyReLU", "ReLU", "Rescaling")
"""Layers that do to rows at all times at once what they do to one."""

_SUPPORTED = f"Supported layers: {', '.join(sorted([*HANDLERS, 'TimeDistributed']))}."
_OPERATION = f"Use layers, or one of the operations {', '.join(sorted(OPERATORS))}."
_CLASSIFIER = "Use TimeDistributed convolutions and an LSTM, or convolutions over the axis of time."

_HINTS: dict[str, str] = {
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _CLASSIFIER),
    **dict.fromkeys(("Conv3D", "AveragePooling3D", "MaxPooling3D"), "Use the layer for two dimensions."),
    "Lambda": "Write it with Keras's own layers, for example Rescaling, Reshape or Activation.",
    **dict.fromkeys(("AdditiveAttention", "GroupQueryAttention"), "Use Attention or MultiHeadAttention."),
    "Resizing": "Resize the images before they are sent.",
    "CenterCrop": "Crop the images before they are sent, or use Cropping2D.",
    "Masking": "Leave the masked steps out before the input is sent.",
}
