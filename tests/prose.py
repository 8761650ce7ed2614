"""What a reader reads as text, in every file of the project that has some."""

import io
import re
import tokenize
import tomllib
from functools import cache
from pathlib import Path

FOLDERS = (
    "support golden exchange mapper hdl train synth testing sim formal mutation boards kit bench demo examples tests"
).split()
PAGES = sorted([*Path("docs").rglob("*.md"), Path("CONTRIBUTING.md"), Path("README.md")])
#: Where a page says what a key in brackets links to.
DEFINITION = re.compile(r"^\[([A-Z][\w-]*)\]: (\S+)$", re.MULTILINE)


def files() -> list[Path]:
    """Sources, recipes and pages."""
    code = [path for folder in FOLDERS for path in Path(folder).rglob("*.py")]
    return sorted([*code, *Path("recipes").rglob("*.toml"), *PAGES])


@cache
def prose(path: Path) -> str:
    """Comments and docstrings of Python, comments and source of a recipe, Markdown without code and definitions."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return "\n".join(token.string for token in tokens if _is_prose(token))
    if path.suffix == ".toml":
        comments = re.findall(r"^#.*", text, re.MULTILINE)
        return "\n".join([*comments, str(tomllib.loads(text).get("source", ""))])
    return re.sub(r"```.*?```|`[^`\n]*`", "", DEFINITION.sub("", text), flags=re.DOTALL)


def _is_prose(token: tokenize.TokenInfo) -> bool:
    return token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""'))
