"""What the HTML reports share: one page that needs nothing else, light or dark as the reader's browser is.

Plots are drawn once and kept as SVG text that takes its ink from the page, and as PNG on white.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from nequip_elemtransfer.optional_packages import extra

with extra("study", "a report"):
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

# stands for the page's text colour, and is replaced by it
INK = "#010203"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nequip-elemtransfer",  # the same picture is the same text
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass
class Picture:
    """A plot, empty until it is drawn.

    Args:
        svg: an ``<svg>`` element in the page's text colour
        png: the same on white
    """

    svg: str = ""
    png: bytes = b""


@contextmanager
def drawing(width: float, height: float, panels: int, title: str) -> Iterator[tuple[list[Axes], Picture]]:
    """Axes to draw on, side by side, and the picture that they become afterwards; size in inches.

    Args:
        title: what a screen reader says in place of the picture
    """
    picture = Picture()
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(1, panels, squeeze=False)[0]), picture
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Title": title})
        figure.savefig(png, format="png", facecolor="white", dpi=150, metadata={"Title": title})
    text = svg.getvalue()
    picture.svg = text[text.index("<svg") :].replace("<svg", f"<svg role='img' aria-label='{escape(title)}'", 1)
    picture.svg = picture.svg.replace(INK, "currentColor")
    picture.png = png.getvalue()


def page(package: str, template: str, filters: Mapping[str, Any], **values: Any) -> str:
    """Render a template with what all reports share: the ``style``, and the ``version`` of this package.

    Args:
        package: that holds the template, and those that it includes
        template: file name
        filters: name -> function, for use in the template
        values: names for use in the template
    """
    loader = FunctionLoader(lambda name: files(package).joinpath(name).read_text(encoding="utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, version=version("nequip-elemtransfer"), **values)
