r"""Can a classifier tell the target's environments from the source's? (Kjeldal & Eriksen, arXiv:2409.17575)

Where it cannot, the source model has seen what it will meet; where it can, the features and structures it goes by are
what the target data must teach. The answer is the area under the ROC curve: the probability that of one environment
of each side the target's is the one held for it. 0.5 is chance, 1 is certainty.

**Classifier.** Logistic regression on the standardised features and their squares, both sides weighing the same. It
is the best there is for two normal distributions that differ in means and variances, sees a target that only spreads
wider, has one minimum, and is fitted in a tenth of a second. Trees are more sensitive and twenty times slower, and
part of what they are sensitive to is memory of single crystals.

**Folds.** Structures are divided, not atoms: atoms of one structure resemble each other more than anything else does.
Only environments of one fold are compared with each other, because different folds have different classifiers and the
pooled AUC of equal sets lies below 0.5. If which structure belongs to which side is chance, this AUC is 0.5 on
average.

**Interval.** Structures of both sides are drawn with replacement a thousand times, the classifiers kept. That leaves
out how the folds depend on each other: of two structures, each is judged by what was learned from the other, so for
equal sets every chance resemblance counts twice and the variance is twice that of the draws. The interval is
therefore widened by √2, and by Student's t for few structures. It is right for equal sets and cautious for others.

**What it cannot know.** Snapshots of one trajectory, one crystal at many strains, or copies under rotation are fewer
structures than they look: they give the classifier away what it should learn, and make the interval too narrow. Name
them as families, which are divided between folds and draws as one (:func:`.copies.duplicate_families` finds the
copies)."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata, t

from nequip_elemtransfer.optional_packages import extra
from nequip_elemtransfer.structures.environments import Environments

MIN_FAMILIES = 2
_MAX_FOLDS = 5
_DRAWS = 1000
_SHUFFLES = 3
_CONFIDENCE = 0.95
# inverse strength of the penalty, low enough for features that are many and alike
_REGULARISATION = 0.1


@dataclass(frozen=True)
class TellingFeature:
    """How much one feature gives away.

    Args:
        name: of the feature
        importance: AUC lost when its values are shuffled; small where other features say the same
        auc_alone: of the feature by itself, from 0.5 for nothing to 1
        shift: mean of the target less that of the source, in standard deviations of the source
    """

    name: str
    importance: float
    auc_alone: float
    shift: float


@dataclass(frozen=True)
class StructureScore:
    """How foreign a target structure looks.

    Args:
        structure: index in the list of target structures
        score: mean probability of being the target's, by classifiers that never saw the structure; 0.5 is no opinion
        n_environments: the mean is over these
    """

    structure: int
    score: float
    n_environments: int


@dataclass(frozen=True)
class AdversarialResult:
    """Outcome of :func:`adversarial_validation`; ``dataclasses.asdict`` makes it plain data.

    Args:
        kind: of the features, ``model`` or ``ACSF``
        auc: area under the ROC curve, mean over the folds
        interval: 95 %, over structures
        n_structures: of source and target
        n_families: of source and target; what the interval takes as independent
        n_environments: of source and target
        n_folds: of the cross-validation
        features: the most telling alone first
        target_scores: the most foreign first
    """

    kind: str
    auc: float
    interval: tuple[float, float]
    n_structures: tuple[int, int]
    n_families: tuple[int, int]
    n_environments: tuple[int, int]
    n_folds: int
    features: tuple[TellingFeature, ...]
    target_scores: tuple[StructureScore, ...]


def adversarial_validation(
    source: Environments,
    target: Environments,
    seed: int = 0,
    source_families: Sequence[Hashable] | None = None,
    target_families: Sequence[Hashable] | None = None,
) -> AdversarialResult:
    """Have a classifier tell the target's environments from the source's.

    Args:
        source, target: the same features of both
        seed: of folds, draws and shuffles
        source_families, target_families: a label for each structure; those with the same are never divided. None makes
            every structure a family of its own

    Raises:
        ValueError: if the features differ, are not finite, or a side has too few families
        ModuleNotFoundError: without scikit-learn
    """
    _check(source, target)
    rng = np.random.default_rng(seed)
    families = [_families(source, source_families, "source"), _families(target, target_families, "target")]
    n_families = int(families[0].max()) + 1, int(families[1].max()) + 1
    n_folds = min(_MAX_FOLDS, *n_families)
    features = np.concatenate([source.features, target.features])
    is_target = np.repeat([False, True], [len(source), len(target)])
    family = np.concatenate(families)
    # folds as equal in number of families as can be
    fold = np.concatenate([rng.permutation(np.arange(n) % n_folds)[f] for n, f in zip(n_families, families)])
    probability, lost = _out_of_fold(features, is_target, fold, n_folds, rng)
    wins = [
        _wins(probability[own], family[own], is_target[own], n_families) for own in (fold == i for i in range(n_folds))
    ]
    won, compared = (np.sum(part, axis=0) for part in zip(*wins))
    auc = float(won.sum() / compared.sum())
    return AdversarialResult(
        kind=source.kind,
        auc=auc,
        interval=_interval(auc, won, compared, rng),
        n_structures=(len(np.unique(source.structure)), len(np.unique(target.structure))),
        n_families=n_families,
        n_environments=(len(source), len(target)),
        n_folds=n_folds,
        features=_telling(source, target, lost),
        target_scores=_scores(target.structure, probability[is_target]),
    )


def _check(source: Environments, target: Environments) -> None:
    if (source.kind, source.names) != (target.kind, target.names):
        raise ValueError(
            f"the source's {len(source.names)} {source.kind} features and the target's {len(target.names)} "
            f"{target.kind} features are not the same: compute both with the same model, or with the same cutoff."
        )
    for name, side in (("source", source), ("target", target)):
        if not np.isfinite(side.features).all():
            raise ValueError(
                f"{int((~np.isfinite(side.features)).any(axis=1).sum())} environments of the {name} have features that "
                "are not finite: look for atoms on top of each other."
            )


def _families(side: Environments, labels: Sequence[Hashable] | None, name: str) -> np.ndarray:
    """Number of each environment's family, from zero."""
    if labels is None:
        labels = range(side.n_structures)
    elif len(labels) != side.n_structures:
        raise ValueError(
            f"{name}_families has {len(labels)} labels for {side.n_structures} structures: give one for each."
        )
    number: dict[Hashable, int] = {}
    families = np.array([number.setdefault(labels[i], len(number)) for i in side.structure], dtype=int)
    if len(number) < MIN_FAMILIES:
        raise ValueError(
            f"adversarial validation needs at least {MIN_FAMILIES} independent structures of each side, found "
            f"{len(number)} of the {name}."
        )
    return families


def _out_of_fold(
    features: np.ndarray, is_target: np.ndarray, fold: np.ndarray, n_folds: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each environment by classifiers of the other folds, and the AUC lost by shuffling each feature."""
    probability, lost, pairs = np.zeros(len(features)), np.zeros(features.shape[1]), 0
    for i in range(n_folds):
        test = fold == i
        classify = _classifier(features[~test], is_target[~test])
        rows, truth = features[test], is_target[test]
        probability[test] = classify(rows)
        whole, weight = _auc(probability[test], truth), int(truth.sum()) * int((~truth).sum())
        pairs += weight
        for j in range(len(lost)):
            shuffled = np.tile(rows, (_SHUFFLES, 1))
            shuffled[:, j] = np.concatenate([rng.permutation(rows[:, j]) for _ in range(_SHUFFLES)])
            lost[j] += weight * (whole - _auc(classify(shuffled).reshape(_SHUFFLES, -1).T, truth).mean())
    return probability, lost / pairs


def _classifier(features: np.ndarray, is_target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Probability of being the target's as a function of features, learned from these."""
    with extra("plan", "adversarial validation"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

    first, second = StandardScaler().fit(features), StandardScaler()

    def inputs(rows: np.ndarray) -> np.ndarray:
        standard = first.transform(rows)
        return np.concatenate([standard, standard**2], axis=1)

    model = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000)
    with warnings.catch_warnings():
        # a slow end of a convex problem changes no ranking
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(second.fit_transform(inputs(features)), is_target)
    return lambda rows: model.predict_proba(second.transform(inputs(rows)))[:, 1]


def _auc(values: np.ndarray, is_target: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each column from rank sums (Mann & Whitney), ties counting half."""
    n_target = is_target.sum()
    ranks = rankdata(values, axis=0)[is_target].sum(axis=0)
    return (ranks - n_target * (n_target + 1) / 2) / (n_target * (~is_target).sum())


def _wins(
    probability: np.ndarray, family: np.ndarray, is_target: np.ndarray, n_families: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Of the environments of each two families, how often the target's is held for it, and of how many pairs.

    Returns:
        both of shape (n_target_families, n_source_families)
    """
    p_source, p_target = probability[~is_target], probability[is_target]
    better = (p_target[:, None] > p_source) + 0.5 * (p_target[:, None] == p_source)  # (n_target, n_source)
    # rows of the unit matrix: which family an environment belongs to, (n_environments, n_families)
    in_source, in_target = np.eye(n_families[0])[family[~is_target]], np.eye(n_families[1])[family[is_target]]
    return in_target.T @ better @ in_source, np.outer(in_target.sum(axis=0), in_source.sum(axis=0))


def _interval(auc: float, won: np.ndarray, compared: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    n_target, n_source = won.shape
    # how often each family is drawn, (n_draws, n_families)
    rows = rng.multinomial(n_target, np.full(n_target, 1 / n_target), size=_DRAWS)
    columns = rng.multinomial(n_source, np.full(n_source, 1 / n_source), size=_DRAWS)
    drawn, pairs = (np.sum(rows @ table * columns, axis=1) for table in (won, compared))  # (n_draws,)
    some = pairs > 0  # of few families, no two of one fold may have been drawn
    tail, fewest = (1 - _CONFIDENCE) / 2, min(won.shape)
    low, high = np.quantile(drawn[some] / pairs[some], [tail, 1 - tail])
    width = np.sqrt(2 * fewest / (fewest - 1)) * t.isf(tail, fewest - 1) / norm.isf(tail)
    return float(max(auc - width * max(auc - low, 0.0), 0.0)), float(min(auc + width * max(high - auc, 0.0), 1.0))


def _telling(source: Environments, target: Environments, lost: np.ndarray) -> tuple[TellingFeature, ...]:
    is_target = np.repeat([False, True], [len(source), len(target)])
    alone = _auc(np.concatenate([source.features, target.features]), is_target)
    spread, difference = source.features.std(axis=0), target.features.mean(axis=0) - source.features.mean(axis=0)
    shift = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    found = [
        TellingFeature(name, float(loss), float(max(a, 1 - a)), float(s))
        for name, loss, a, s in zip(source.names, lost, alone, shift)
    ]
    return tuple(sorted(found, key=lambda f: (-f.auc_alone, -f.importance)))


def _scores(structure: np.ndarray, probability: np.ndarray) -> tuple[StructureScore, ...]:
    number = np.bincount(structure)
    total = np.bincount(structure, probability)
    found = [StructureScore(int(i), float(total[i] / number[i]), int(number[i])) for i in np.flatnonzero(number)]
    return tuple(sorted(found, key=lambda s: -s.score))
