"""Modules of the user's own, with quantizers that recipes then know."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def import_own(name: str) -> None:
    """Import a module by its name, also from the current folder, or a file ending in ``.py``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be imported, with what it raises.
    """
    if name.endswith(".py") and not Path(name).is_file():
        raise FileNotFoundError(f"Argument --import must be a module or a file, not {name!r}")
    try:
        if name.endswith(".py"):
            _import_file(Path(name))
        else:
            _import_module(name)
    except Exception as error:
        raise ValueError(f"Argument --import must be what can be imported, not {name!r}: {error!r}") from error


def _import_file(path: Path) -> None:
    # No module of the project or of another package may be hidden by the name of a file.
    name = f"twofold_own_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no file of Python")
    sys.modules[name] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _import_module(name: str) -> None:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        import_module(name)
    finally:
        sys.path.remove(here)
