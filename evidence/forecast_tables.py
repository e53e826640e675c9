"""Tables of what ``plan`` said of the transfers of studies before training, and of what training showed.

A transfer helps if its error is lower than from scratch, in forces if nothing else is said. "Go with care" is counted
apart, for it says neither.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from nequip_elemtransfer.plan.verdict import CARE, GO, LIMITS, STOP, Limits, judge
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.run.results import FORCE_MAE

_NAMES = ("forces", "energies", "stresses")  # of TEST_ERRORS
# limits that a choice on the other targets has
TRIED = [
    Limits(*values) for values in itertools.product((0.02, 0.05, 0.1, 0.2), (0.3, 0.5, 0.8), (0.8, 0.9, 0.95, 0.99))
]


@dataclass(frozen=True)
class Transfer:
    """What was said of a transfer, and what came of it.

    Args:
        target, source: what is to be learned, and the model that it starts from
        unexplained, auc: that the verdict is made of
        verdict: of ``plan``
        errors, of_scratch: kind -> test MAE
    """

    target: str
    source: str
    unexplained: float
    auc: float
    verdict: str
    errors: Mapping[str, float]
    of_scratch: Mapping[str, float]

    @property
    def error(self) -> float:
        """Of forces, eV/Å."""
        return self.errors[FORCE_MAE]

    @property
    def scratch(self) -> float:
        """The same from scratch."""
        return self.of_scratch[FORCE_MAE]

    def helps(self, kind: str = FORCE_MAE) -> bool:
        return self.errors[kind] < self.of_scratch[kind]

    def word(self, limits: Limits) -> str:
        """The verdict with other limits."""
        plain = judge(self.unexplained, None, self.auc).word
        warned = ["there was a warning"] if self.verdict == CARE != plain else []
        return judge(self.unexplained, None, self.auc, warned, limits=limits).word


def forecasts(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """A row for each transfer."""
    rows = [
        [
            f"{t.source} → {t.target}",
            f"{t.unexplained:.3f}",
            f"{t.auc:.2f}",
            t.verdict,
            f"{1000 * t.error:.1f}",
            f"{1000 * t.scratch:.1f}",
            "yes" if t.helps() else "no",
        ]
        for t in planned_transfers(reports)
    ]
    return ["transfer", "unexplained", "AUC", "verdict", "by transfer", "from scratch", "helps"], rows


def forecast_score(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """How often each verdict was right: with today's limits by each error, and with limits chosen on other targets."""
    transfers = planned_transfers(reports)
    said = [(t, t.verdict) for t in transfers]
    rows = [_score(f"as they are, in {name}", said, kind) for kind, name in zip(TEST_ERRORS, _NAMES)]
    rows.append(_score("chosen on the other targets, in forces", list(_held_out(transfers))))
    return ["limits", "go, and it helps", "do not, and it does not help", "go with care, and it helps"], rows


def planned_transfers(reports: Mapping[str, Any]) -> list[Transfer]:
    """The transfers of studies, each named after its target."""
    return [
        Transfer(_target(study), f["start"], f["unexplained"], f["auc"], f["verdict"], *_errors(report, f["start"]))
        for study, report in reports.items()
        for f in report["forecasts"]
    ]


def _errors(report: Mapping[str, Any], start: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Of the one training of a start, and of that from scratch."""
    tests = {run["settings"]["start"]: run["tests"]["all"] for run in report["runs"]}
    return tests[start], tests[SCRATCH]


def _target(study: str) -> str:
    return study.removeprefix("forecast_")


def _held_out(transfers: Sequence[Transfer]) -> Iterable[tuple[Transfer, str]]:
    """Each transfer with the verdict by the limits that are right most often of the transfers to other targets."""
    for target in dict.fromkeys(t.target for t in transfers):
        others = [t for t in transfers if t.target != target]
        # of those that are right equally often, today's
        best = max(TRIED, key=lambda limits: (_right(others, limits), limits == LIMITS))
        yield from ((t, t.word(best)) for t in transfers if t.target == target)


def _right(transfers: Iterable[Transfer], limits: Limits) -> int:
    return sum(t.word(limits) == (GO if t.helps() else STOP) for t in transfers)


def _score(name: str, verdicts: Sequence[tuple[Transfer, str]], kind: str = FORCE_MAE) -> list[str]:
    said = Counter(word for _, word in verdicts)
    right = Counter(word for t, word in verdicts if t.helps(kind) == (word != STOP))
    return [name, *(_share(right[word], said[word]) for word in (GO, STOP, CARE))]


def _share(right: int, said: int) -> str:
    """With Wilson's interval of 95 %."""
    if not said:
        return "–"
    low, high = binomtest(right, said).proportion_ci(method="wilson")
    return f"{right} of {said} ({low:.0%} to {high:.0%})"
