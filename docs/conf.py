"""Sphinx configuration; built with ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

from importlib.metadata import version as installed_version

project = "nequip-elemtransfer"
author = "The nequip-elemtransfer developers"
copyright = f"2026, {author}"
version = release = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["tables.css"]
