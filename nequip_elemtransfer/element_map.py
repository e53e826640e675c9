"""Which source types each target type starts from, as a matrix of convex weights. Pure: no torch, no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.config import Start, suggest


@dataclass(frozen=True)
class ElementMap:
    """Target types as convex combinations of source types.

    Args:
        target_types: names of the target types, in the order of the target model
        source_types: names of the source types, in the order of the source model
        weights: convex weights m, rows sum to one, shape (n_target, n_source)
    """

    target_types: tuple[str, ...]
    source_types: tuple[str, ...]
    weights: np.ndarray

    @classmethod
    def from_elements(cls, elements: Mapping[str, Start], source_types: Sequence[str]) -> "ElementMap":
        """Resolve the key's ``elements`` against the types a source has.

        Raises:
            ValueError: if a source type is unknown; the message lists what the source has
        """
        index = {name: i for i, name in enumerate(source_types)}
        weights = np.zeros((len(elements), len(source_types)))  # (n_target, n_source)
        for row, (target, start) in enumerate(elements.items()):
            for name, weight in ({start: 1.0} if isinstance(start, str) else start).items():
                if name not in index:
                    raise ValueError(
                        f"`elements` starts {target!r} from {name!r}, which is not a type of the source"
                        f"{suggest(name, source_types)}."
                    )
                weights[row, index[name]] = weight
        return cls(tuple(elements), tuple(source_types), weights)

    @classmethod
    def identity(cls, types: Sequence[str]) -> "ElementMap":
        """Every type from itself."""
        return cls(tuple(types), tuple(types), np.eye(len(types)))

    def extended(self, name: str) -> "ElementMap":
        """The same map with one more target type ``name`` that starts as the first target type does."""
        return ElementMap(
            (*self.target_types, name), self.source_types, np.vstack([self.weights, self.weights[:1]])
        )

    @property
    def kept(self) -> np.ndarray:
        """True for the target types that start from the source type of the same name alone, shape (n_target,)."""
        same = np.array([[t == s for s in self.source_types] for t in self.target_types])
        return (same & (self.weights == 1.0)).any(axis=1)

    def per_type(self, values: np.ndarray) -> np.ndarray:
        """``v'[t] = Σ_s m[t,s] v[s]`` along the first axis: (n_source, ...) -> (n_target, ...)."""
        return np.tensordot(self.weights, values, axes=1)

    def per_pair(self, values: np.ndarray) -> np.ndarray:
        """``v'[t,u] = Σ_sv m[t,s] m[u,v] v[s,v]``: (n_source, n_source) -> (n_target, n_target)."""
        return self.weights @ values @ self.weights.T

    def describe(self) -> dict[str, Start]:
        """The map as plain data: a name for a single start, else the weights above zero."""
        described = {}
        for target, row in zip(self.target_types, self.weights):
            used = {self.source_types[i]: float(row[i]) for i in np.flatnonzero(row)}
            described[target] = next(iter(used)) if len(used) == 1 else used
        return described
