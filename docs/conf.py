"""Sphinx configuration, for ``python -m sphinx -W --keep-going -c docs -b html . docs/_build/html``.

The source is the root of the repository, so that pages of docs/ and evidence/ link each other.
"""

from importlib.metadata import version as installed_version
from pathlib import Path

project = "nequip-elemtransfer"
author = "The nequip-elemtransfer developers"
copyright = f"2026, {author}"
version = release = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
# all else at the root, so that nothing there (environments, runs) is walked through
exclude_patterns = [path.name for path in Path(__file__).parents[1].iterdir() if path.name not in ("docs", "evidence")]
exclude_patterns += ["docs/_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_additional_pages = {"index": "to_start.html"}  # the address of the site
templates_path = ["_templates"]
html_css_files = ["tables.css"]
