"""Files that come with the package: builds and recipes by their names; and where a clone of the sources is."""

from importlib.resources import files
from pathlib import Path

#: What a folder's files are called in messages.
THINGS = {"configs": "Build", "recipes": "Recipe"}
#: Where else there are such files.
FURTHER = {"configs": ("boards",)}


def shipped(folder: str) -> list[Path]:
    """The TOML files of a folder that come with the package, by name."""
    return sorted(Path(str(files("twofold") / folder)).glob("*.toml"))


def find(folder: str, path: Path | str) -> Path:
    """The file that is meant: a path, or the name of one that comes with the package.

    Raises
    ------
    FileNotFoundError
        If it is a plain name and there is none such; the message gives those that there are.
    """
    path = Path(path)
    if path.suffix or path.name != str(path) or path.is_file():
        return path
    named = {file.stem: file for place in (folder, *FURTHER.get(folder, ())) for file in shipped(place)}
    if path.name not in named:
        raise FileNotFoundError(f"{THINGS[folder]} must be a TOML file or one of {tuple(named)}, not {str(path)!r}")
    return named[path.name]


def shown(folder: str, path: Path) -> str:
    """What a reader gives to a command for a file: its name if it comes with the package, else its path."""
    return path.stem if path in shipped(folder) else str(path)


#: The root of the clone that the package lies in: its folders are links to those at the root.
SOURCES = Path(__file__).resolve().parents[1]


def need_sources() -> None:
    """Tests and docs are in a clone only.

    Raises
    ------
    FileNotFoundError
        If the package is installed without its sources.
    """
    if not (SOURCES / "pyproject.toml").is_file():
        raise FileNotFoundError(f"Twofold must lie in a clone of its sources for this, not in {str(SOURCES)!r}")
