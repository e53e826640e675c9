"""What a start explains before training, and whether that alone says that it will help (``docs/how-to/plan.md``)."""

from collections.abc import Sequence
from dataclasses import dataclass

GO, RACE = "go", "not known before training: race"

# Part of the held-out force variance, on atoms of types that are not kept, that a start may leave unexplained to be
# nearly sure to help: each of the ten transfers of the evidence that leave no more ended better than scratch.
CLOSE = 0.05
# from which on little is explained, and another source may be nearer
LITTLE = 0.5


@dataclass(frozen=True)
class PlanVerdict:
    """The verdict and what decided it.

    Args:
        word: :data:`GO` or :data:`RACE`
        sentence: the reason
        numbers: name -> value of what is known of the start; None where a number is not known
    """

    word: str
    sentence: str
    numbers: dict[str, float | None]


def judge(
    unexplained: float | None,
    map_alone: float | None,
    auc: float | None,
    warnings: Sequence[str] = (),
    new_types: Sequence[str] = (),
    on_all: float | None = None,
) -> PlanVerdict:
    """The verdict on a start.

    Args:
        unexplained: part of the held-out force variance that the fitted start leaves; None without forces or with one
            structure
        map_alone: the same for the element map alone, as in the literature
        auc: of telling target from source structures by a descriptor, at the lengths where it is lowest; None without
            source structures; it measures how far structures differ, and decides nothing
        warnings: of the length scan and of the source's faults
        new_types: whose atoms the first two numbers are of, where others are kept
        on_all: the first number of all atoms, where types are kept
    """
    numbers = {
        "force variance the start leaves unexplained": unexplained,
        "the same for the element map alone": map_alone,
        "AUC of structures, at the lengths where it is lowest": auc,
    }

    def verdict(word: str, sentence: str) -> PlanVerdict:
        return PlanVerdict(word, sentence, numbers)

    if unexplained is None:
        return verdict(RACE, "there are no forces on held-out structures to judge by")
    on_atoms = f" on {' and '.join(new_types)}" if new_types else ""
    all_atoms = "" if on_all is None else f" and {_explained(on_all)} on all atoms"
    start = f"the start explains {_explained(unexplained)} of the variance of held-out forces{on_atoms}{all_atoms}"
    if unexplained > LITTLE:
        return verdict(RACE, f"{start}, which is little: another source may be nearer")
    if unexplained > CLOSE:
        return verdict(RACE, start)
    if warnings:
        return verdict(RACE, f"{start}, but {warnings[0].rstrip('.')}")
    return verdict(GO, start)


def _explained(unexplained: float) -> str:
    return f"{max(0.0, 1 - unexplained):.1%}"
