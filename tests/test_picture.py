"""The README's picture: drawn text by text inside its frame, and really in the README."""

import re
from pathlib import Path
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
#: Width of a letter, at most on average, in parts of the font's size.
LETTER = 0.56


def sizes(text):
    """Left and right edge of a text that is set about its x."""
    words = "".join(text.itertext())
    size = {"small": 12.5}.get(text.get("class"), 15)
    half = LETTER * size * len(words) / 2
    return words, float(text.get("x")) - half, float(text.get("x")) + half, float(text.get("y"))


def test_texts_lie_inside_their_boxes():
    root = ElementTree.parse("docs/picture.svg").getroot()
    boxes = [tuple(float(box.get(key)) for key in ("x", "y", "width", "height")) for box in root.iter(f"{SVG}rect")]
    width, height = map(float, root.get("viewBox").split()[2:])
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for words, left, right, y in map(sizes, root.iter(f"{SVG}text")):
        middle = (left + right) / 2
        around = [box for box in boxes if 0 <= middle - box[0] <= box[2] and 0 <= y - box[1] <= box[3]]
        x, _, w, _ = min(around, key=lambda box: box[2] * box[3])
        assert x <= left and right <= x + w, words


def test_the_readme_shows_the_picture():
    readme = Path("README.md").read_text(encoding="utf-8")
    ((alt, path),) = re.findall(r"!\[([^]]+)\]\(([^)]+\.svg)\)", readme)
    assert Path(path).is_file() and "shift-add" in alt
    # A background of its own: it is read on light pages and on dark ones.
    assert re.search(r'<rect [^>]*width="998"[^>]*fill="#ffffff"', Path(path).read_text(encoding="utf-8"))
