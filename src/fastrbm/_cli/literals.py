"""Values of options as text: numbers, names, lists, and objects such as ``adam(beta1=0.5)``; nothing is evaluated."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from typing import Any

_WORDS = {"none": None, "true": True, "false": False}


@cache
def classes() -> dict[str, type]:
    """What options may be objects of, by their names in lower case."""
    from fastrbm import LearnedSigma, init, optimizers, regularizers, samplers, schedules

    found: dict[str, type] = {"learnedsigma": LearnedSigma}
    for module in (optimizers, schedules, regularizers):
        found |= {
            name.lower(): getattr(module, name) for name in module.__all__ if name not in ("Schedule", "Optimizer")
        }
    found |= {cls.__name__.lower(): cls for cls in (init.Normal, init.Xavier, init.FanIn, init.LayerCorrelation)}
    found |= {name: cls for name, cls in samplers.SAMPLERS.items()}
    found |= {cls.__name__.lower(): cls for cls in (*samplers.SAMPLERS.values(), samplers.Gibbs)}
    return {name: cls for name, cls in found.items() if inspect.isclass(cls)}


def read(text: str) -> Any:
    """Value that a text spells; the text itself where it spells none.

    Parameters
    ----------
    text : str
        A number, ``none``, ``true``, ``false``, values with commas between them, or a class of `classes` with its
        options in parentheses, which are values again.

    Raises
    ------
    ValueError
        For objects with unusable options.
    """
    text = text.strip()
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id.lower() in classes()):
        return text  # a unit type such as onehot(5)
    if isinstance(node, (ast.Call, ast.Constant, ast.Tuple, ast.List, ast.Name)) or _is_negative(node):
        return _value(node)
    return text


def _is_negative(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd))


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, float, str))):
        return node.value
    if isinstance(node, ast.UnaryOp) and _is_negative(node):
        value = _value(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and all(k.arg for k in node.keywords):
        return _object(node)
    raise ValueError(f"cannot read {ast.unparse(node)!r}: numbers, names, lists and {_known()} may stand there")


def _known() -> str:
    return ", ".join(sorted({cls.__name__ for cls in classes().values()}))


def _object(node: ast.Call) -> Any:
    assert isinstance(node.func, ast.Name)
    cls = classes().get(node.func.id.lower())
    if cls is None:
        raise ValueError(f"{node.func.id} must be one of {_known()}")
    given = [_value(item) for item in node.args]
    named = {str(item.arg): _value(item.value) for item in node.keywords}
    try:
        made = cls(*given, **named)
    except TypeError:
        takes = ", ".join(inspect.signature(cls).parameters) or "no options"
        raise ValueError(f"{cls.__name__} takes {takes}, got {ast.unparse(node)}") from None
    if hasattr(made, "validate"):
        made.validate()
    return made
