"""Sphinx configuration.

``sphinx-build -D plot_gallery=0`` leaves the scripts of the gallery unexecuted, for a quick look. FASTRBM_DOCS_ONLINE=1
links names of other packages, whose inventories are fetched for it; without it the build needs no network.
"""

import os
import sys
from importlib.metadata import version as _version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from member_names import Methods, Properties

os.environ.setdefault("MPLBACKEND", "agg")

project = "fastrbm"
author = "The fastrbm developers"
copyright = "2026, the fastrbm developers"
release = _version("fastrbm")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_copybutton",
    "sphinx_codeautolink",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "command_options",
    "mathml",
    "name_links",
]
exclude_patterns = ["_build", "performance/*.rst"]  # parts of other pages
templates_path = ["_templates"]
default_role = "py:obj"
math_numfig = False
html_math_renderer = "mathml"

# The reference
autosummary_generate = True
autosummary_context = {"methods_of": Methods(), "properties_of": Properties()}
autodoc_typehints = "none"
numpydoc_show_class_members = False

# Other packages
_INVENTORIES = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "sklearn": "https://scikit-learn.org/stable",
    "pandas": "https://pandas.pydata.org/docs",
    "torch": "https://docs.pytorch.org/docs/stable",
    "matplotlib": "https://matplotlib.org/stable",
}
_online = os.environ.get("FASTRBM_DOCS_ONLINE", "0") == "1"
intersphinx_mapping = {name: (url, None) for name, url in _INVENTORIES.items()} if _online else {}

# Pictures: those of pages by the plot directive, those of examples by the gallery
plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "subsection_order": [f"../examples/{name}" for name in ("first_steps", "sampling", "data", "tools")],
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("fastrbm",),
    "reference_url": {"fastrbm": None},
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "thumbnail_size": (360, 252),
}

# Look
html_theme = "furo"
html_title = f"fastrbm {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c8a", "color-brand-content": "#0b5c8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    """Let pages show pictures of the gallery also where it is not made."""
    app.connect(
        "config-inited",
        lambda _, config: (
            config.plot_gallery in ("0", "False") and config.suppress_warnings.append("image.not_readable")
        ),
    )
