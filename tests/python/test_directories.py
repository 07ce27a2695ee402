"""Where files are, as R has it; the lock; addresses."""

from __future__ import annotations

import shutil
import string
import subprocess
from pathlib import Path

import pytest
from syfr import directories
from syfr.errors import DeadlineError, InputTypeError
from syfr.trust.credentials import (
    cache_directory,
    cluster_directory,
    data_directory,
)


def test_a_lock_that_is_not_given_back_ends_in_an_error(tmp_path: Path) -> None:
    held, wanted = directories.locked(tmp_path / "c"), directories.locked(tmp_path / "c", timeout=0.1)
    with held, pytest.raises(DeadlineError, match="Another session"), wanted:
        pass
    with directories.locked(tmp_path / "c", timeout=0.1):
        pass


VARIABLES = ("SYFR_HOME", "R_USER_DATA_DIR", "R_USER_CACHE_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME")
SETTINGS: list[dict[str, str]] = [
    {},
    {"XDG_DATA_HOME": "/x/data", "XDG_CACHE_HOME": "/x/cache"},
    {"R_USER_DATA_DIR": "/r/data", "R_USER_CACHE_DIR": "/r/cache", "XDG_DATA_HOME": "/x/data"},
    {"R_USER_DATA_DIR": "", "XDG_DATA_HOME": "/x/data"},
]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("setting", SETTINGS)
def test_directories_are_where_r_has_them(setting: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in setting.items():
        monkeypatch.setenv(variable, value)
    script = 'cat(tools::R_user_dir("syfr", "data"), tools::R_user_dir("syfr", "cache"), sep = "\\n")'
    said = subprocess.run(
        ["Rscript", "--vanilla", "-e", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert [str(data_directory()), str(cache_directory())] == said.stdout.splitlines()


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", "/home/u/.local/share/R/syfr", "/home/u/.cache/R/syfr"),
        (
            "darwin",
            "/home/u/Library/Application Support/org.R-project.R/R/syfr",
            "/home/u/Library/Caches/org.R-project.R/R/syfr",
        ),
        ("win32", "/roaming/R/data/R/syfr", "/local/R/cache/R/syfr"),
    ],
)
def test_each_system_has_its_custom(
    platform: str, data: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {"HOME": "/home/u", "APPDATA": "/roaming", "LOCALAPPDATA": "/local"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("syfr.directories.sys.platform", platform)
    assert (data_directory().as_posix(), cache_directory().as_posix()) == (data, cache)


def test_syfr_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R_USER_DATA_DIR", "/r/data")
    monkeypatch.setenv("SYFR_HOME", str(tmp_path))
    assert data_directory() == tmp_path
    assert cache_directory() == tmp_path / "cache"
    directory = cluster_directory(["localhost:1", "localhost:2", "localhost:3"])
    assert directory.parent == tmp_path / "clusters"


def test_a_cluster_has_one_directory_however_its_addresses_are_written() -> None:
    plain = cluster_directory(["localhost:4000", "localhost:4001", "localhost:4002"])
    assert cluster_directory(("127.0.0.1:4000", "[::1]:4001", " LocalHost:4002 ")) == plain
    assert cluster_directory(["localhost:4001", "localhost:4000", "localhost:4002"]) != plain
    # Too long to be written out in full, and equal in what is.
    long = [f"{'a' * 60}.example.org:{port}" for port in (1, 2, 3)]
    other = [*long[:2], long[2].replace(":3", ":4")]
    assert cluster_directory(long) != cluster_directory(other)
    assert set(cluster_directory(long).name) <= set(string.ascii_lowercase + string.digits + ".-")
    assert len(cluster_directory(long).name) <= 97


@pytest.mark.parametrize(
    "address",
    ["localhost", "", ":4000", "localhost:0", "localhost:65536", "a:b", "../x:1", "a b:1", "a:1:2", "[::1"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputTypeError):
        cluster_directory(["localhost:1", "localhost:2", address])
