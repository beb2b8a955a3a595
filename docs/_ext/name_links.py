"""Links from names in the running text, ``BernoulliRBM`` or ``fastrbm.load(...)``, to their pages of the reference."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.util.nodes import make_refnode

_NAME = re.compile(r"(?:fastrbm\.)?([A-Za-z_][\w.]*)(?:\(.*\))?", re.DOTALL)
_LINKED = ("class", "function", "exception", "method", "property", "module", "attribute")


def _by_ending(domain: PythonDomain) -> dict[str, str]:
    """Full names by their endings, of one part for classes and functions alone; the shortest name wins."""
    found: dict[str, str] = {}
    for name in sorted(domain.objects, key=lambda name: (name.count("."), name)):
        kind = domain.objects[name].objtype
        if kind not in _LINKED or not name.startswith("fastrbm."):
            continue
        parts = name.split(".")[1:]
        least = 1 if kind in ("class", "exception", "function") else 2
        for n in range(least, len(parts) + 1):
            found.setdefault(".".join(parts[-n:]), name)
        if kind == "module":
            found.setdefault(".".join(parts), name)
    return found


def _link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    domain = app.env.domains.python_domain
    endings = _by_ending(domain)
    for literal in list(doctree.findall(nodes.literal)):
        parent = literal.parent
        if isinstance(parent, (nodes.reference, nodes.title)) or "xref" in literal["classes"]:
            continue
        match = _NAME.fullmatch(literal.astext())
        name = endings.get(match[1]) if match else None
        if name is None or domain.objects[name].docname == docname:
            continue
        entry = domain.objects[name]
        link = make_refnode(app.builder, docname, entry.docname, entry.node_id, literal.deepcopy(), name)
        parent.replace(literal, link)


def _leave_to_the_gallery(app: Sphinx, docname: str, source: list[str]) -> None:
    """Keep sphinx-codeautolink off the code of examples, which Sphinx-Gallery links itself."""
    if docname.startswith("gallery/"):
        head, orphan, page = source[0].rpartition(":orphan:\n")  # a field only where a page begins with it
        source[0] = f"{head}{orphan}\n.. autolink-skip:: file\n\n{page}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the links."""
    app.connect("doctree-resolved", _link)
    app.connect("source-read", _leave_to_the_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
