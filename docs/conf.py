"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "fastrbm"
author = "The fastrbm developers"
copyright = "2026, the fastrbm developers"
release = _version("fastrbm")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
autosummary_generate = True
numpydoc_show_class_members = False
autodoc_typehints = "none"
html_theme = "alabaster"
exclude_patterns = ["_build", "performance/tables.rst"]  # the tables are a part of performance.rst
