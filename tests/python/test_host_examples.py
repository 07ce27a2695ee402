"""The examples of a systemd unit and of a container start a worker in the way in which it can be started."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from syfr import player

EXAMPLES = Path("inst") / "examples" / "hosts"


def commands(root: Path) -> dict[str, list[str]]:
    """The words of each example, the program first."""
    unit = (root / EXAMPLES / "syfr@.service").read_text("utf-8").replace("%i", "server1")
    container = (root / EXAMPLES / "Containerfile").read_text("utf-8")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", container, re.MULTILINE)
    return {"unit": start.split(), "container": [*json.loads(entry), "server1"]}


@pytest.mark.parametrize("name", ["unit", "container"])
def test_the_command_is_one_that_the_player_takes(root: Path, name: str) -> None:
    words = commands(root)[name]
    assert Path(words[0]).name == "syfr-player"
    options = player.parse(words[1:])
    assert options.role == "server1"
    assert options.log_format == "json"
    assert options.state_dir.is_relative_to("/var/lib/syfr")


def test_the_command_is_installed_under_that_name(root: Path) -> None:
    project = (root / "inst" / "python" / "pyproject.toml").read_text("utf-8")
    assert '[project.scripts]\nsyfr-player = "syfr.player:main"' in project
