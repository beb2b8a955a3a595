"""What a page of the reference lists of a class: its own public methods and properties, not scikit-learn's plumbing."""

from __future__ import annotations

import importlib
import inspect
import re

# Of what classes inherit from scikit-learn, the part that users call and that links to no page of scikit-learn
_FROM_ELSEWHERE = ("fit_transform", "fit_predict", "get_params", "set_params")
# scikit-learn puts these on every class
_ROUTING = re.compile("set_.*_request")


def _is_own(name: str, member: object, owner: type) -> bool:
    if _ROUTING.fullmatch(name) or not inspect.getdoc(member):
        return False
    if name in _FROM_ELSEWHERE:
        return True
    return next(kind for kind in owner.__mro__ if name in vars(kind)).__module__.startswith("fastrbm")


def _members(fullname: str) -> list[tuple[str, object]]:
    module, _, name = fullname.rpartition(".")
    owner = getattr(importlib.import_module(module), name)
    found = ((name, inspect.getattr_static(owner, name)) for name in sorted(dir(owner)) if not name.startswith("_"))
    return [(name, member) for name, member in found if _is_own(name, member, owner)]


class Methods:
    """Callable from templates, and stored by Sphinx, which refuses functions."""

    def __call__(self, fullname: str) -> list[str]:
        """Return the names of methods."""
        kinds = (staticmethod, classmethod)
        return [name for name, member in _members(fullname) if inspect.isroutine(member) or isinstance(member, kinds)]


class Properties:
    """Callable from templates, and stored by Sphinx, which refuses functions."""

    def __call__(self, fullname: str) -> list[str]:
        """Return the names of properties."""
        return [name for name, member in _members(fullname) if isinstance(member, property)]
