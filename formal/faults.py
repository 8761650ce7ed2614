"""Seeded faults: one edit of a component's source, to show that a property can fail."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from twofold.hdl import emit


@dataclass(frozen=True)
class Fault:
    """An edit of one place in a file of `hdl/`.

    Parameters
    ----------
    file
        Name of the file, without suffix.
    old, new
        The text, which the file must hold exactly once, and what is put there instead.
    breaks
        The requirement that no longer holds.
    """

    file: str
    old: str
    new: str
    breaks: str

    def edited(self) -> str:
        """The file's text with the fault.

        Raises
        ------
        ValueError
            If the file does not hold the text exactly once.
        """
        path = Path(importlib.import_module(f"twofold.hdl.{self.file}").__file__ or "")
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"Fault's text must be in hdl/{self.file}.py once, not {text.count(self.old)} times: {self.old!r}"
            )
        return text.replace(self.old, self.new)


@contextmanager
def seeded(fault: Fault | None) -> Iterator[None]:
    """Within it, `hdl.emit` makes components with the fault."""
    if fault is None:
        yield
        return
    faulty = ModuleType(f"twofold.hdl.{fault.file}")
    exec(compile(fault.edited(), f"hdl/{fault.file}.py", "exec"), faulty.__dict__)
    classes = {
        name: thing
        for name, thing in vars(faulty).items()
        if isinstance(thing, type) and thing.__module__ == faulty.__name__
    }
    changes: list[Any] = [
        mock.patch.dict(
            emit.COMPONENTS,
            {key: classes[made.__name__] for key, made in emit.COMPONENTS.items() if made.__name__ in classes},
        )
    ]
    for module in [module for name, module in list(sys.modules.items()) if name.startswith("twofold.hdl.")]:
        changes += [mock.patch.object(module, name, made) for name, made in classes.items() if hasattr(module, name)]
    for change in changes:
        change.start()
    try:
        yield
    finally:
        for change in reversed(changes):
            change.stop()
