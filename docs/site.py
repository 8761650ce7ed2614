"""What MkDocs does not know of itself: pages and files beside docs/ belong to the site, and links find them there."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: Pages of the project's root by their place in the site.
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FILES = ("LICENSE", "CITATION.cff", *sorted(str(path) for path in Path("examples").glob("*.py")))


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds them."""
    for place, path in PAGES.items():
        files.append(File.generated(config, place, content=Path(path).read_text(encoding="utf-8")))
    for path in FILES:
        files.append(File.generated(config, path, abs_src_path=str(Path(path).resolve())))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the repository become links of the site."""
    if page.file.src_uri in PAGES:
        for place, path in PAGES.items():
            markdown = markdown.replace(f"]({path})", f"]({place})")
        return re.sub(r"\]\(docs/", "](", markdown)
    return re.sub(r"\]\(\.\./(examples/)", r"](\1", markdown)
