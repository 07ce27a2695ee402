"""Finding a model on a cluster: what all three workers describe alike, by shapes and by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syfr.errors import NotReadyError, NotSharedError, ProtocolError, ShapeError
from syfr.face.arguments import Batch
from syfr.face.remote import Remote
from syfr.face.results import input_shapes, output_shapes
from syfr.face.tasks import Steps, together
from syfr.program import Program
from syfr.steps import Shape


@dataclass(frozen=True)
class Found:
    """A model as all three workers describe it."""

    number: str
    name: str
    program: Program
    serving: bool

    def fits(self, inputs: Batch, outputs: Batch) -> bool:
        """Whether its shapes are the ones asked for; the batch is of any size, the same on both sides."""
        rows = {size for size in (inputs[0], outputs[0]) if size is not None}
        shapes = [found[0] if len(found) == 1 else found for found in (self.inputs, self.outputs)]
        return [inputs[1], outputs[1]] == shapes and len(rows) <= 1

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """The shape of a row of each input."""
        return input_shapes(self.program)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        """The shape of a row of each output."""
        return output_shapes(self.program)

    def __str__(self) -> str:
        ends = [" and ".join(batch_shape(None, shape) for shape in found) for found in (self.inputs, self.outputs)]
        unproven = "" if self.program.proven else ", ranges not proven"
        return f"'{self.name}' from {ends[0]} to {ends[1]}{unproven}"


def described(remotes: Mapping[str, Remote], deadline: float) -> Steps[list[Found]]:
    """The models that all three workers describe alike."""
    return _common((yield from _by_worker(remotes, deadline)))


def _by_worker(remotes: Mapping[str, Remote], deadline: float) -> Steps[list[dict[str, Found]]]:
    replies = yield from together([remote.asking("describe", deadline) for remote in remotes.values()])
    return [_read_models(remote, reply) for remote, reply in zip(remotes.values(), replies, strict=True)]


def _common(found: list[dict[str, Found]]) -> list[Found]:
    common = []
    for number, first in found[0].items():
        others = [models[number] for models in found[1:] if number in models]
        if len(others) + 1 < len(found):
            continue  # being shared or withdrawn at this moment
        if any(other.program.digest() != first.program.digest() for other in others):
            raise ProtocolError(
                f"The workers describe the model '{first.name}' differently. "
                "Its owner should share it again; do not send it anything."
            )
        serving = first.serving and all(other.serving for other in others)
        common.append(Found(number, first.name, first.program, serving))
    return common


def _read_models(remote: Remote, reply: Mapping[str, Any]) -> dict[str, Found]:
    try:
        return {
            str(item["model"]): Found(
                str(item["model"]), str(item["name"]), Program.from_message(item["program"]), bool(item["serving"])
            )
            for item in reply["models"]
        }
    except (KeyError, TypeError) as error:
        raise ProtocolError(
            f"{remote.name} describes its models in a way that cannot be read. Use one version of syfr everywhere."
        ) from error


def choose(found: list[Found], inputs: Batch, outputs: Batch, name: str | None) -> Found:
    """The model that is meant: by name if one is given, and by its shapes; one that is served before others."""
    if not found:
        raise NotSharedError("No model is shared with these workers. Its owner must share and serve it first.")
    named = [model for model in found if name in (None, model.name, model.number)]
    if not named:
        raise NotSharedError(f"No model called '{name}' is shared there. There are {_listed(found)}.")
    fitting = [model for model in named if model.fits(inputs, outputs)]
    if not fitting:
        asked = f"from {_asked(inputs)} to {_asked(outputs)}"
        raise ShapeError(f"No model there goes {asked}. There are {_listed(named)}; give the shapes of one of them.")
    served = [model for model in fitting if model.serving] or fitting
    if len(served) > 1:
        if name is not None:
            numbers = " and ".join(model.number for model in served)
            raise ShapeError(f"Several models there are called '{name}': {numbers}. Give the number of one as `model`.")
        names = ", ".join(f"'{model.name}' ({model.number})" for model in served)
        raise ShapeError(f"Several models there have these shapes: {names}. Name one of them as `model`.")
    return served[0]


def shared_anew(remotes: Mapping[str, Remote], model: Found, deadline: float) -> Steps[Found]:
    """The model of the same name and form that has taken the place of one.

    Raises:
        NotReadyError: some worker still holds the old one, or the new one is not served yet.
        NotSharedError: there is neither.
    """
    found = yield from _by_worker(remotes, deadline)
    same = [
        one for one in _common(found) if one.name == model.name and one.program.digest() == model.program.digest()
    ]
    if len(same) == 1 and same[0].serving and same[0].number != model.number:
        return same[0]
    held = zip(remotes.values(), found, strict=True)
    without = [remote.name for remote, models in held if model.number not in models]
    if same or len(without) < len(found):
        raise NotReadyError(
            f"{' and '.join(without)} has lost its share of the model '{model.name}'. Its owner can share it again."
        )
    raise NotSharedError(f"The workers no longer hold the model '{model.name}'. Its owner can share it again.")


def _listed(models: list[Found]) -> str:
    return "; ".join(str(model) for model in models)


def _asked(batch: Batch) -> str:
    rows, shape = batch
    shapes = shape if shape and isinstance(shape[0], tuple) else (shape,)
    return " and ".join(batch_shape(rows, one) for one in shapes)  # type: ignore[arg-type]


def batch_shape(rows: int | None, shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(size) for size in ("rows" if rows is None else rows, *shape)) + ")"
