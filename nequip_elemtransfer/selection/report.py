"""The page of a selection: a map of the feature space, and what was chosen."""

import numpy as np
from sklearn.decomposition import PCA

from nequip_elemtransfer.output.page import INK, drawing, page
from nequip_elemtransfer.selection.selecting import Selection

_COLORS = ("#3b82c4", "#d97a2b", "#4d9a6a", "#9b5fc0", "#c2456b", "#b39a28", "#8b93a1")


def selection_page(selection: Selection, candidates: str, model: str, have: str | None) -> str:
    """The page as HTML text.

    Args:
        candidates, model, have: names of the files
    """
    rows = [
        {
            "candidate": atoms.info["candidate"],
            "group": atoms.info.get("group", atoms.info.get("config_type", "")),
            "made_from": atoms.info.get("made_from", ""),
            "formula": atoms.get_chemical_formula(),
            "distance": "" if not np.isfinite(distance) else f"{distance:.3g}",
        }
        for atoms, distance in zip(selection.structures(), selection.distances)
    ]
    explained, figure = selection_map(selection)
    return page(
        __package__,
        "report.html.jinja",
        {},
        selection=selection,
        rows=rows,
        figure=figure,
        explained=explained,
        candidates=candidates,
        model=model,
        have=have,
    )


def selection_map(selection: Selection) -> tuple[float, str]:
    """Part of the variance that two principal components hold, and the map as SVG text."""
    n_components = min(2, *selection.features.shape)
    pca = PCA(n_components=n_components, svd_solver="full").fit(selection.features)
    places = np.zeros((len(selection.features), 2))
    places[:, :n_components] = pca.transform(selection.features)
    n = len(selection.candidates)
    groups = [str(atoms.info.get("group", "candidates")) for atoms in selection.candidates]
    title = "Candidates in two principal components of the features, the chosen ones numbered"
    with drawing(8.4, 5.2, 1, title) as ((ax,), picture):
        for name, color in zip(dict.fromkeys(groups), _COLORS * len(groups)):
            own = [i for i in range(n) if groups[i] == name and i not in selection.copies]
            ax.plot(*places[own].T, "o", ms=4.5, color=color, alpha=0.55, mew=0, label=name)
        copies = sorted(selection.copies)
        if copies:
            ax.plot(*places[copies].T, "o", ms=4.5, mfc="none", mec="#8b93a1", mew=0.8, label="copies, left out")
        if len(selection.have):
            ax.plot(*places[n:].T, "x", ms=6, color=INK, mew=1.2, label="labelled already")
        ax.plot(*places[selection.chosen].T, "o", ms=11, mfc="none", mec=INK, mew=1.3, label="chosen")
        for rank, place in enumerate(selection.chosen):
            ax.annotate(str(rank), places[place], (7, 5), textcoords="offset points", fontsize=9)
        ax.set_xlabel("first principal component")
        ax.set_ylabel("second principal component")
        ax.figure.legend(loc="outside lower center", ncols=4, frameon=False)
    ratio = np.nan_to_num(pca.explained_variance_ratio_)  # rows that are all the same have no variance
    return float(ratio.sum()), picture.svg
