"""Look through built pages for what a build does not warn of; ``python docs/check_pages.py docs/_build/html``.

Raw TeX, empty cells of tables, cells that became lists, pictures and places of links that are not there, and anything
that a page would fetch from elsewhere. Prints what is wrong, one line each, and ends with status 1 if there is
something.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_TEX = re.compile(r"\\\(|\\\[|\\(?:frac|sum|prod|sigma|cdot|psi|log|mathrm|begin)\b|\$\$")
_LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The faults of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.faults = path, []
        self.places: set[str] = set()  # what links may name after a #
        self.links: list[str] = []
        self._cell: list[str] | None = None  # the text of the open cell, pictures included
        self._code = 0  # how many elements are open whose text may look like TeX
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at what is fetched, and open cells."""
        found = dict(attrs)
        self.places.add(found.get("id") or "")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag in ("pre", "code", "script", "style", "annotation"):
            self._code += 1
        if tag in ("td", "th"):
            self._cell = []
        if self._cell is not None and tag == "img":
            self._cell.append("picture")
        if self._cell is not None and tag in ("ul", "ol"):
            self.faults.append("a cell of a table holds a list")
        address = found.get(_LOADED.get(tag, "")) or ""
        if tag == "link" and found.get("rel") not in ("stylesheet", "icon", "preload"):
            return
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") or parts.netloc:
            self.faults.append(f"fetches {address}")
        elif address and parts.scheme != "data" and not (self.path.parent / unquote(parts.path)).exists():
            self.faults.append(f"{address} is not there")

    def handle_endtag(self, tag: str) -> None:
        """Close cells."""
        if tag in ("pre", "code", "script", "style", "annotation"):
            self._code -= 1
        if tag in ("td", "th") and self._cell is not None:
            if not "".join(self._cell).strip():
                self.faults.append("an empty cell of a table")
            self._cell = None

    def handle_data(self, data: str) -> None:
        """Look at text."""
        if self._cell is not None:
            self._cell.append(data)
        if not self._code and _TEX.search(data):
            self.faults.append(f"raw TeX: {data.strip()[:60]}")


def _leads_somewhere(page: Page, link: str, read: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # elsewhere; no network here
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
    if not parts.fragment or target not in read:
        return target.exists()
    return unquote(parts.fragment) in read[target].places


def faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the pages of a folder."""
    # Sphinx's own indices are lists in tables
    pages = [path for path in sorted(folder.rglob("*.html")) if path.name not in ("genindex.html", "py-modindex.html")]
    if not pages:
        yield f"{folder}: no pages"
    read = {path.resolve(): Page(path) for path in pages}
    for path, page in read.items():
        name = path.relative_to(folder.resolve())
        yield from (f"{name}: {fault}" for fault in page.faults)
        yield from (
            f"{name}: the link {link} leads nowhere" for link in page.links if not _leads_somewhere(page, link, read)
        )


if __name__ == "__main__":
    wrong = list(faults(Path(sys.argv[1])))
    print("\n".join(wrong) or "no fault in any page")
    sys.exit(bool(wrong))
