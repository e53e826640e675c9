"""The plots of properties and simulations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nequip_elemtransfer.output.page import INK, Picture, drawing
from nequip_elemtransfer.study.figures import legend, start_colors
from nequip_elemtransfer.study.quantities import ADF, MSD, RDF
from nequip_elemtransfer.study.stability import Survival, survival_curve

_FUNCTIONS = {
    RDF: ("r / nearest-neighbour distance", "g(r)"),
    ADF: ("bond angle (degrees)", "density (1/degree)"),
    MSD: ("time (ps)", "mean-square displacement (Å²)"),
}


def equation_of_state_figure(curves: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any] | None) -> Picture:
    """Energy against volume, each curve from its lowest energy.

    Args:
        curves: start -> ``volumes`` (Å³/atom) and ``energies`` (eV/atom)
        reference: likewise, drawn in the text colour
    """
    with drawing(4.6, 3.2, 1) as ((ax,), picture):
        for start, color in zip(curves, start_colors(list(curves))):
            ax.plot(*_from_lowest(curves[start]), color=color, lw=1.5, label=start)
        if reference is not None:
            ax.plot(*_from_lowest(reference), "--", color=INK, lw=1.2, label="reference")
        ax.set_xlabel("volume (Å³/atom)")
        ax.set_ylabel("energy (meV/atom)")
        legend(ax)
    return picture


def phonon_figure(bands: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any] | None) -> Picture:
    """Phonon bands, a panel for each start, those of the reference dashed."""
    with drawing(4.2 * len(bands), 3.2, len(bands)) as (axes, picture):
        for ax, start, color in zip(axes, bands, start_colors(list(bands))):
            own = bands[start]
            ax.plot(own["x"], own["frequencies"], color=color, lw=1.3)
            if reference is not None:
                ax.plot(own["x"], reference["frequencies"], "--", color=INK, lw=0.9)
            for position in own["ticks"]:
                ax.axvline(position, color=INK, lw=0.4, alpha=0.4)
            ax.set_xticks(own["ticks"], own["labels"], fontsize=8)
            ax.set_xlim(own["x"][0], own["x"][-1])
            ax.set_title(start, fontsize=10)
        low, high = (pick(ax.get_ylim()[i] for ax in axes) for i, pick in enumerate((min, max)))
        for ax in axes:
            ax.set_ylim(low, high)
        axes[0].set_ylabel("frequency (THz)")
    return picture


def survival_figure(kinds: Sequence[Sequence[Survival]]) -> Picture:
    """Share of simulations that go on, against time.

    Args:
        kinds: for each panel, the simulations of one kind with the models of each start
    """
    with drawing(max(4.2, 2.8 * len(kinds)), 3.0, len(kinds)) as (axes, picture):
        for ax, models in zip(axes, kinds):
            for model, color in zip(models, start_colors([model.start for model in models])):
                failed = sum(model.failures.values())
                times, shares = survival_curve(model.survived, model.time, failed)
                ax.plot(times, shares, color=color, lw=1.8, alpha=0.8, label=model.start)
            ax.set_ylim(-0.04, 1.04)
            ax.set_title(f"{models[0].begin}, {models[0].temperature:g} K", fontsize=10)
            ax.set_xlabel("time (ps)")
        axes[0].set_ylabel("share of runs")
        legend(axes[0])
    return picture


def structure_figure(
    name: str, x: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]], reference: Mapping[str, np.ndarray]
) -> Picture:
    """RDF, ADF or mean-square displacement of simulations.

    Args:
        name: ``rdf``, ``adf`` or ``msd``
        x: of the axis, (n,)
        panels: title -> start -> (n,)
        reference: title -> (n,)
    """
    with drawing(max(4.2, 2.8 * len(panels)), 3.0, len(panels)) as (axes, picture):
        for ax, title in zip(axes, panels):
            functions = panels[title]
            for start, color in zip(functions, start_colors(list(functions))):
                ax.plot(x, functions[start], color=color, lw=1.4, label=start)
            if title in reference:
                ax.plot(x, reference[title], "--", color=INK, lw=1.0, label="reference")
            ax.set_title(title, fontsize=10)
            ax.set_xlabel(_FUNCTIONS[name][0])
            ax.set_ylim(bottom=0)
        axes[0].set_ylabel(_FUNCTIONS[name][1])
        legend(axes[0])
    return picture


def _from_lowest(curve: Mapping[str, Any]) -> tuple[Sequence[float], list[float]]:
    lowest = min(curve["energies"])
    return curve["volumes"], [1000 * (energy - lowest) for energy in curve["energies"]]
