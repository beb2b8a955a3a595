"""Options by their names: those of objects in lists, and names that are none."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections import Counter
from typing import Any

#: options that may be lists of objects with options of their own
LISTS = ("regularizers",)
#: names of other libraries
_KNOWN_AS = {
    "n_hidden": "n_components",
    "hidden_units": "n_components",
    "num_hidden": "n_components",
    "epochs": "n_iter",
    "n_epochs": "n_iter",
    "max_iter": "n_iter",
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "seed": "random_state",
    "k": "n_gibbs_steps",
    "cd_k": "n_gibbs_steps",
    "n_jobs": "n_threads",
}


def checked(init: Any) -> Any:
    """Decorate a constructor: other options are a TypeError in the name of the class that was called."""

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        own = inspect.signature(__init__).parameters
        for name in options:
            if name not in own:
                near = _KNOWN_AS.get(name) or next(iter(difflib.get_close_matches(name, list(own), 1)), None)
                hint = f"; did you mean {near!r}?" if near in own else ""
                cls = type(self).__name__
                raise TypeError(f"{cls}.__init__() got an unexpected keyword argument {name!r}{hint}")
        init(self, *args, **options)

    return __init__


def named(objects: Any) -> dict[str, Any]:
    """Objects of a list by names made as `sklearn.pipeline.make_pipeline` makes them: "l2", or "l2-1" and "l2-2"."""
    kinds = [type(one).__name__.lower() for one in objects]
    several, seen = {kind for kind, n in Counter(kinds).items() if n > 1}, Counter[str]()
    names = {}
    for kind, one in zip(kinds, objects, strict=True):
        seen[kind] += 1
        names[f"{kind}-{seen[kind]}" if kind in several else kind] = one
    return names


def params_of_lists(estimator: Any) -> dict[str, Any]:
    """Options of the objects in lists, such as ``regularizers__l2__strength``."""
    params: dict[str, Any] = {}
    for option in LISTS:
        value = getattr(estimator, option)
        if isinstance(value, (tuple, list)):
            for name, one in named(value).items():
                if hasattr(one, "get_params"):
                    params[f"{option}__{name}"] = one
                    params |= {f"{option}__{name}__{key}": x for key, x in one.get_params().items()}
    return params


def set_params_of_lists(estimator: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Set the options of objects in lists, after all were found; returns the other options."""
    others, calls = {}, []
    for key, value in params.items():
        option, _, rest = key.partition("__")
        held = params.get(option, getattr(estimator, option, None))
        if option not in LISTS or not rest or not isinstance(held, (tuple, list)):
            others[key] = value
            continue
        name, _, inner = rest.partition("__")
        objects = named(held)
        if name not in objects:
            raise ValueError(f"{key!r} names no option of {type(estimator).__name__}: {option} holds {sorted(objects)}")
        if inner:
            calls.append((objects[name], inner, value))
        else:
            others[option] = type(held)(value if one is objects[name] else one for one in held)
    for one, inner, value in calls:
        one.set_params(**{inner: value})
    return others
