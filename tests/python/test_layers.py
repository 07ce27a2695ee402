"""Every supported layer, through three parties in memory, gives what Keras gives; the table says what that takes."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras_models import GENERATIONS, sequential
from layer_cases import CASES, CURVES, EXACT, Case, rows
from layer_runs import BATCHES, input_unit, measure, measured, table
from syfr.importing.keras_import import import_model
from syfr.importing.keras_layers import HANDLERS
from syfr.importing.layers_activations import FUNCTIONS
from syfr.steps import Linear


def check(case: Case, generation: str, shape: tuple[int, ...], batches: tuple[int, ...]) -> None:
    """Import a model of the layer, and compare on batches of several sizes."""
    for count in batches:
        found = measured(case, generation, shape, count)
        assert found.error < case.tolerance, f"{case.name} on {shape}, {count} rows"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layer_gives_what_keras_gives(case: Case) -> None:
    newest = case.generations[-1]
    check(case, newest, case.shapes[0], BATCHES)
    for shape in case.shapes[1:]:
        check(case, newest, shape, (3,))
    for generation in case.generations[:-1]:
        check(case, generation, case.shapes[0], (5,))


def test_every_layer_that_is_supported_has_a_line_of_its_own() -> None:
    names = {case.layer for case in CASES}
    activations = {case.arguments.split("'")[1] for case in CASES if case.layer == "Activation"}
    trains = HANDLERS["Dropout"]
    known = {name for name, handler in HANDLERS.items() if handler is not trains}
    assert known - names == {"SyncBatchNormalization"}, "BatchNormalization by another name"
    assert set(FUNCTIONS) - activations == {"swish", "hard_swish"}, "other names of silu and hard_silu"
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CURVES, ids=lambda case: case.name)
def test_an_approximation_keeps_its_error_over_the_whole_range(case: Case) -> None:
    check(replace(case, largest=3_800.0), case.generations[-1], (60,), (17,))


@pytest.mark.parametrize("case", CURVES, ids=lambda case: case.name)
def test_an_approximation_does_not_diverge_outside_the_declared_range(case: Case) -> None:
    model = case.model(GENERATIONS[case.generations[-1]], (60,))
    imported = import_model(model, input_range=(-1.0, 1.0))
    for largest in (30.0, 3_800.0):
        far = rows(replace(case, largest=largest), (60,), 5, input_unit(imported.program))
        assert measure(imported, model, far).error < case.tolerance


def test_what_a_mean_divides_by_does_not_make_all_weights_err_the_same_way() -> None:
    """Flat images: a dense layer that took in the mean of 49 numbers has 49 weights for one of Keras's."""
    k = GENERATIONS["keras3"].layers
    layers = [k.Conv2D(16, 1, activation="relu"), k.GlobalAveragePooling2D(), k.Dense(10)]
    model = sequential(GENERATIONS["keras3"], (7, 7, 16), *layers)
    imported = import_model(model, input_range=(0.0, 4.0))
    assert any(isinstance(step, Linear) and step.kernel == (7 * 7 * 16, 10) for step in imported.program.steps)
    colours = np.random.default_rng(3).integers(0, 4 * 512, (30, 1, 1, 16)) / 512
    flat = np.broadcast_to(colours, (30, 7, 7, 16)).astype(np.float32)
    error = measure(imported, model, [flat]).error
    assert error < EXACT


@pytest.mark.timeout(300)
def test_the_committed_table_of_layers_is_this_one(root: Path) -> None:
    """``make layer-table`` writes it anew. Errors are random in their last bit, so the table's are an upper bound."""
    path = root / "inst" / "extdata" / "layers.csv"
    with path.open(encoding="utf-8", newline="") as file:
        committed = list(csv.reader(file))
    found = table(committed)
    if os.environ.get("SYFR_LAYER_TABLE") == "write":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(found)
    else:
        assert committed == found, "run make layer-table"
