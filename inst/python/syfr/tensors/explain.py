"""What an expression would cost, as its operations declare it."""

from __future__ import annotations

from typing import Any

from syfr.party.preprocessing import Plan, program_cost
from syfr.program import Program
from syfr.protocol.cost import Cost
from syfr.steps import is_output


def explained(program: Program) -> list[dict[str, Any]]:
    """A dictionary for each step that takes messages or opens something, and one for the whole."""
    plan, table = Plan(program), []
    for operation, step in zip(plan.operations, program.steps, strict=True):
        cost = operation.cost()
        if is_output(step):
            table.append(_row(f"{step.layer}: opened", step.output_shape, cost))
        elif cost != Cost():
            table.append(_row(step.layer, step.output_shape, cost))
    return [*table, _row("all", program.output_shape, program_cost(program))]


def _row(name: str, shape: tuple[int, ...], cost: Cost) -> dict[str, Any]:
    return {
        "operation": name,
        "shape": list(shape),
        "delays": float(cost.delays),
        "online_bytes": float(cost.online_bytes),
        "preprocessing_bytes": float(cost.preprocessing_bytes),
    }
