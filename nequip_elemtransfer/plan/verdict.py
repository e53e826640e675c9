"""Go, go with care, or do not: rules on three numbers, calibrated on measured transfers (``docs/how-to/plan.md``)."""

from collections.abc import Sequence
from dataclasses import dataclass

GO, CARE, STOP = "go", "go with care", "do not"


@dataclass(frozen=True)
class Limits:
    """What the rules compare with.

    Args:
        close: part of the held-out force variance that the fitted start may leave unexplained whatever the structures
            look like, on atoms of types that are not kept
        least: the same, from which on a start is of no use
        unlike: AUC, at the lengths where it is lowest, above which source and target are different kinds of structures
    """

    close: float = 0.05
    least: float = 0.5
    unlike: float = 0.95


LIMITS = Limits()


@dataclass(frozen=True)
class PlanVerdict:
    """The verdict and what decided it.

    Args:
        word: ``go``, ``go with care`` or ``do not``
        sentence: the reason
        numbers: name -> value of the numbers that decided; None where a number is not known
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
    limits: Limits = LIMITS,
) -> PlanVerdict:
    """The verdict on a start.

    Args:
        unexplained: part of the held-out force variance that the fitted start leaves; None without forces or with one
            structure
        map_alone: the same for the element map alone, as in the literature
        auc: of telling target from source structures by a descriptor, at the lengths where it is lowest; None without
            source structures
        warnings: of the length scan
        new_types: whose atoms the first two numbers are of, where others are kept
        on_all: the first number of all atoms, where types are kept
        limits: of the rules
    """
    numbers = {
        "force variance the start leaves unexplained": unexplained,
        "the same for the element map alone": map_alone,
        "AUC of structures, at the lengths where it is lowest": auc,
    }

    def verdict(word: str, sentence: str) -> PlanVerdict:
        return PlanVerdict(word, sentence, numbers)

    if unexplained is None:
        return verdict(
            CARE, "there are no forces on held-out structures to judge by, so compare with a start from scratch"
        )
    on_atoms = f" on {' and '.join(new_types)}" if new_types else ""
    explained = f"{_explained(unexplained)} of the variance of held-out forces{on_atoms}"
    start = f"before any training the start explains {explained}"
    if unexplained >= limits.least and on_all is not None and on_all < limits.least:
        worth = "what is kept may be worth the transfer, and a source that is nearer to what is new would be better"
        return verdict(CARE, f"{start} and {_explained(on_all)} on all atoms: {worth}")
    if unexplained >= limits.least:
        return verdict(STOP, f"{start}, which is too little: take another source, or start from scratch")
    if auc is not None and auc > limits.unlike and unexplained > limits.close:
        unlike = f"the structures are of another kind than the source's at any length (AUC {auc:.2f})"
        return verdict(STOP, f"{start}, but {unlike}: such a start trains to larger errors than one from scratch")
    if unexplained > limits.close and auc is None:
        unknown = "without source structures nothing says whether the rest can be learned from there"
        return verdict(CARE, f"{start}, and {unknown}")
    if warnings:
        return verdict(CARE, f"{start}, but {warnings[0].rstrip('.')}")
    return verdict(GO, start)


def _explained(unexplained: float) -> str:
    return f"{max(0.0, 1 - unexplained):.1%}"
