"""Tables of what ``plan`` said of the transfers of studies before training, and of what training showed.

A transfer helps if its error is lower than from scratch, in forces if nothing else is said. The verdicts in the reports
are those of a rule that went by adversarial validation too; today's is made anew of the same numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from nequip_elemtransfer.plan.verdict import GO as GO_TODAY
from nequip_elemtransfer.plan.verdict import RACE, judge
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.run.results import FORCE_MAE

_NAMES = ("forces", "energies", "stresses")  # of TEST_ERRORS

# words of the former rule
GO, STOP = "go", "do not"


@dataclass(frozen=True)
class Transfer:
    """What was said of a transfer, and what came of it.

    Args:
        target, source: what is to be learned, and the model that it starts from
        unexplained, auc: of the plan
        verdict: of the former rule
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

    @property
    def today(self) -> str:
        """The verdict of today's rule."""
        return judge(self.unexplained, None, self.auc).word


def forecasts(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """A row for each transfer."""
    rows = [
        [
            f"{t.source} → {t.target}",
            f"{t.unexplained:.3f}",
            f"{t.auc:.2f}",
            "go" if t.today == GO_TODAY else "race",
            t.verdict,
            f"{1000 * t.error:.1f}",
            f"{1000 * t.scratch:.1f}",
            "yes" if t.helps() else "no",
        ]
        for t in planned_transfers(reports)
    ]
    header = ["transfer", "unexplained", "AUC", "verdict", "former verdict", "by transfer", "from scratch", "helps"]
    return header, rows


def forecast_score(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """How many transfers helped of those with each verdict, by today's rule and by the former, by each error."""
    transfers = planned_transfers(reports)
    rows = [
        [rule, word, *(_share(sum(t.helps(kind) for t in said), len(said)) for kind in TEST_ERRORS)]
        for rule, word, said in (
            ("today's", GO_TODAY, [t for t in transfers if t.today == GO_TODAY]),
            ("today's", RACE, [t for t in transfers if t.today == RACE]),
            ("former", GO, [t for t in transfers if t.verdict == GO]),
            ("former", STOP, [t for t in transfers if t.verdict == STOP]),
        )
    ]
    return ["rule", "verdict", *(f"helps in {name}" for name in _NAMES)], rows


def forecast_ranking(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Of each target, the source that leaves least unexplained, and the one that trained best."""
    rows = []
    for target, transfers in _by_target(planned_transfers(reports)).items():
        first, best = min(transfers, key=lambda t: t.unexplained), min(transfers, key=lambda t: t.error)
        rows.append([target, first.source, best.source, f"{1000 * best.error:.1f}", f"{1000 * best.scratch:.1f}"])
    return ["target", "explains most", "best trained", "its error", "from scratch"], rows


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


def _by_target(transfers: Iterable[Transfer]) -> dict[str, list[Transfer]]:
    found: dict[str, list[Transfer]] = {}
    for transfer in transfers:
        found.setdefault(transfer.target, []).append(transfer)
    return found


def _share(right: int, said: int) -> str:
    """With Wilson's interval of 95 %."""
    low, high = binomtest(right, said).proportion_ci(method="wilson")
    return f"{right} of {said} ({low:.0%} to {high:.0%})"
