"""TensorFlow's greetings, hidden: it writes to standard error while it is loaded, whatever its log level is."""

from __future__ import annotations

import importlib.abc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

TENSORFLOW = "tensorflow"
LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def quiet_tensorflow() -> None:
    """Have TensorFlow say nothing unless it fails, while it is loaded and later; its exceptions are raised as ever.

    Level 3 it is, because on a machine without a GPU it reports that as an error. Nothing is changed once it is loaded,
    or where the user has said to see everything, by TF_CPP_MIN_LOG_LEVEL=0.
    """
    if TENSORFLOW in sys.modules or os.environ.setdefault(LEVEL, "3") == "0":
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where it would be found anyhow."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TENSORFLOW:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads TensorFlow as its own loader does, which takes its place again."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with _kept_back():
            self._loader.exec_module(module)


@contextmanager
def _kept_back() -> Iterator[None]:
    """Let what is written to standard error, also by other than Python, be seen only if this fails."""
    from tempfile import TemporaryFile  # workers, who never come here, start without it

    try:
        kept = os.dup(2)
    except OSError:  # there is none, as in a session without a terminal on Windows
        yield
        return
    with TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                said.seek(0)
                os.write(2, said.read())
