"""Properties, stability and plans of a study: how results are compared and reported."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from evaluated_grid import CRYSTAL, EMT, SEEDS, grid, put

from nequip_elemtransfer.plan.verdict import RACE
from nequip_elemtransfer.study.grid import State
from nequip_elemtransfer.study.measure.measurements import EOS_RATIOS
from nequip_elemtransfer.study.report.curves import forecasts
from nequip_elemtransfer.study.report.page import write_report
from nequip_elemtransfer.study.report.property_errors import properties, reference_values
from nequip_elemtransfer.study.report.survival import first_ends, survival, survival_curve
from nequip_elemtransfer.study.run.results import RunResult, Validation


@pytest.fixture
def compared(tmp_path):
    """Transfer: nearer in a, further in C11, C44 between scratch's seeds; one vacancy failed; curves known."""
    study = grid(
        crystal=CRYSTAL,
        reference={"calculator": EMT, "values": {"C44": 60.0}},
        properties={"sizes": [10]},
    )
    study.write(tmp_path)

    def bands(shift):
        return {
            "x": [0, 1],
            "frequencies": [[0 + shift, 1 + shift], [2 + shift, 3 + shift]],
            "ticks": [0, 1],
            "labels": ["G", "X"],
        }

    def curve(factor):
        return {"volumes": list(20 * EOS_RATIOS), "energies": [factor * (x - 1) ** 2 - 4 for x in EOS_RATIOS]}

    def values(a, c11, c44):
        return {"lattice_constant": a, "C11": c11, "C44": c44}

    reference = values(5.70, 120.0, 1.0)
    put(tmp_path, "properties", "reference", values=reference, failed={}, phonons=bands(0), equation_of_state=curve(1))
    for seed in SEEDS:
        put(
            tmp_path,
            "properties",
            f"scratch-n10-seed{seed}",
            values=values(5.60 + 0.01 * seed, 119.0, 50.0 + 20 * seed),
            failed={},
            phonons=bands(1.0),
            equation_of_state=curve(2),
        )
        put(
            tmp_path,
            "properties",
            f"corresponding_states-n10-seed{seed}",
            values=values(5.71 - 0.02 * seed, 100.0, 62.0 + 20 * seed),
            failed={"vacancy_formation_energy": "RuntimeError: it moved"} if seed else {},
            phonons=bands(-0.5),
            equation_of_state=curve(1),
        )
    return study, tmp_path


def test_properties_beside_the_reference(compared):
    study, out = compared
    # what the study says goes before what its calculator gives
    assert reference_values(study, out) == {"lattice_constant": 5.70, "C11": 120.0, "C44": 60.0}
    scratch, transfer = properties(study, out)
    assert (scratch.start, transfer.start, transfer.size) == ("scratch", "corresponding_states", 10)
    nearer = {name: quantity.difference for name, quantity in transfer.quantities.items()}
    assert nearer.pop("vacancy_formation_energy") is None  # no reference
    # |a - 5.70| = 0.01, 0.01 against 0.09, 0.10
    assert nearer["lattice_constant"].mean == pytest.approx(-0.085) and nearer["lattice_constant"].high < 0
    assert nearer["C11"].mean > 0
    assert nearer["C44"].low < 0 < nearer["C44"].high
    assert (nearer["phonons"].low, nearer["phonons"].high) == (pytest.approx(-0.5), pytest.approx(-0.5))
    errors = scratch.quantities["equation_of_state"].errors  # the transfer's are zero
    assert nearer["equation_of_state"].mean == pytest.approx(-errors.mean)
    assert all(quantity.difference is None for quantity in scratch.quantities.values())
    assert transfer.quantities["lattice_constant"].errors.mean == pytest.approx(0.01)
    assert transfer.quantities["phonons"].values.mean == pytest.approx(0.5)  # THz, all bands lower by that
    assert transfer.quantities["equation_of_state"].values.mean == 0.0
    # root mean square of (x - 1)², in meV
    expected = 1000 * ((EOS_RATIOS - 1) ** 4).mean() ** 0.5
    assert scratch.quantities["equation_of_state"].values.mean == pytest.approx(expected)
    assert transfer.quantities["vacancy_formation_energy"].failed == {"1": "RuntimeError: it moved"}


def test_report_of_properties(compared):
    study, out = compared
    write_report(out)
    html = (out / "report.html").read_text()
    assert "Out-of-target properties" in html and "it moved" in html and "Stability" not in html
    assert "5.700 ± 0.014 <span" in html and "[−0.085 (−0.15 to −0.021)]" in html
    assert "vacancy_formation_energy of corresponding_states, seed 1: RuntimeError: it moved" in html
    report = json.loads((out / "report.json").read_text())
    assert report["reference"]["C44"] == 60.0 and len(report["properties"]) == 2
    for name in ("equation_of_state", "phonons"):
        assert (out / f"{name}-10-structures.png").read_bytes()[:4] == b"\x89PNG"


def test_survival(tmp_path):
    """Two models from scratch lose 1 and 2 of 2 simulations, the transferred none; structure beside the reference."""
    settings = {"sizes": [10], "starts": ["crystal"], "temperatures": [600], "runs": 2, "time": 4.0}
    study = grid(crystal=CRYSTAL, reference={"calculator": EMT}, stability=settings)
    study.write(tmp_path)
    flat = {"rdf": [1.0] * 100, "adf": [0.0] * 90, "msd": [0.1] * 3}

    def simulation(model, index, survived=4.0, failure=None, **seen):
        name = f"crystal-600K-{index}.json"
        put(tmp_path, "stability", model, name, survived=survived, failure=failure, **seen)

    simulation("reference", 0, **flat)
    for seed in SEEDS:
        simulation(f"scratch-n10-seed{seed}", 0, 1.0 + seed, "hottest")
        simulation(f"corresponding_states-n10-seed{seed}", 0, **flat | {"rdf": [1.25] * 100})
        simulation(f"corresponding_states-n10-seed{seed}", 1, **flat | {"rdf": [1.25] * 100})
    simulation("scratch-n10-seed0", 1, **flat)
    simulation("scratch-n10-seed1", 1, 3.0, "shortest_bond")

    scratch, transfer = survival(study, tmp_path)
    assert scratch.survived == (1.0, 4.0, 2.0, 3.0) and scratch.survivors == 1
    assert scratch.failures == {"hottest": 2, "shortest_bond": 1}
    assert (scratch.failed_share.low, scratch.failed_share.high) == (0.5, 1.0)
    assert transfer.survivors == 4 and transfer.failures == {} and transfer.failed == (False,) * 4
    assert transfer.difference.mean == -0.75  # -0.5 and -1
    # a model is one observation. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), for 2 of 2: 1 / (1 + z²/2)
    assert transfer.models == scratch.models == ("0", "0", "1", "1")
    assert (transfer.lasting_models, scratch.lasting_models) == (2, 0)
    assert transfer.lasting_interval == (pytest.approx(1 / (1 + 1.959964**2 / 2)), 1.0)
    assert transfer.structure["rdf"].mean == pytest.approx(0.25) and transfer.structure["msd"].mean == 0.0
    assert scratch.structure["rdf"].count == 1  # of one survivor alone
    rdf = transfer.structure_differences["rdf"]  # seed by seed
    assert (rdf.mean, rdf.count, rdf.low) == (pytest.approx(0.25), 1, None)
    assert transfer.structure_noise == {}
    write_report(tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert ">0 of 2</td><td>0.00 to 0.66</td><td>1 of 4</td><td></td><td>hottest (2) shortest_bond (1) </td>" in html
    for name in ("survival", "rdf", "adf", "msd"):
        assert (tmp_path / f"{name}-10-structures.png").exists()


def test_a_model_ends_with_its_first_failure():
    """Of model 0 the second simulation fails first, of model 1 none; that of 2 outlasts one that was cut short."""
    ends = first_ends("001122", [4.0, 3.0, 2.5, 5.0, 1.0, 2.0], [True, True, False, False, False, True])
    assert ends == {"0": (3.0, True), "1": (2.5, False), "2": (2.0, True)}


def test_survival_curve():
    """Kaplan and Meier: 3 of 4 go on after 1 ps, 2 of 3 of these after 2 ps; none fails at the end."""
    curve = survival_curve([4.0, 1.0, 4.0, 2.0], [False, True, False, True])
    np.testing.assert_allclose(curve["times"], [0.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(curve["shares"], [1.0, 0.75, 0.5, 0.5])
    # log(-log S) ± z s, s² = Σ d / (n (n - d)) / log² S
    spread = 1.959964 * math.sqrt(1 / 12 + 1 / 6) / math.log(0.5)
    np.testing.assert_allclose(curve["low"][2], 0.5 ** math.exp(-spread), rtol=1e-6)
    np.testing.assert_allclose(curve["high"][2], 0.5 ** math.exp(spread), rtol=1e-6)
    np.testing.assert_allclose(survival_curve([4.0], [False])["shares"], [1.0, 1.0])


def test_noise_of_structure_functions(tmp_path):
    """Of three simulations at g = 0, 1 and 2 each deviates from the mean of the others by 1.5, 0 and 1.5."""
    settings = {"sizes": [10], "starts": ["crystal"], "temperatures": [600], "runs": 3, "time": 4.0}
    study = grid(crystal=CRYSTAL, reference={"calculator": EMT}, stability=settings)
    for index in range(3):
        seen = {"survived": 4.0, "failure": None, "rdf": [float(index)] * 100}
        for model in ("reference", "scratch-n10-seed0"):
            put(tmp_path, "stability", model, f"crystal-600K-{index}.json", **seen)
    (scratch,) = survival(study, tmp_path)
    assert scratch.structure_noise == {"rdf": pytest.approx(1.0)} and scratch.structure["rdf"].mean == 0.0


@pytest.mark.parametrize(
    "word, after, agrees", [("go", 0.05, True), ("go", 0.2, False), (RACE, 0.2, None), ("go", None, None)]
)
def test_forecast(tmp_path, word, after, agrees):
    study = grid(plan={"sizes": [10]})
    ladder = [{"name": str(i), "force_mae": {"value": 0.1 * i}} for i in range(5)]
    verdict = {"word": word, "numbers": {"unexplained": 0.03, "map alone": 0.5, "auc": 0.6}}
    put(tmp_path, "plan", "corresponding_states-n10-seed0", rescales=True, ladder=ladder, verdict=verdict)
    results = []
    for run in study.runs:
        error = after if run.transfers else 0.1
        tests = {} if error is None else {"all": {"forces_mae": error}}
        history = (Validation(0, 0.0, 0.07, 0.01),)
        results.append(RunResult(run, tmp_path, State.FINISHED, "", history, tests))
    (forecast,) = forecasts(study, tmp_path, results)
    assert (forecast.verdict, forecast.unexplained, forecast.auc) == (word, 0.03, 0.6)
    assert (forecast.predicted, forecast.before, forecast.after, forecast.scratch) == (0.4, 0.07, after, 0.1)
    assert forecast.agrees is agrees
    put(tmp_path, "plan", "corresponding_states-n10-seed0", rescales=False, ladder=ladder, verdict=verdict)
    assert forecasts(study, tmp_path, results)[0].predicted == 0.1  # the element map alone


def test_forecasts_of_several_sources(tmp_path):
    """Each is compared with scratch, which has no source."""
    whole = grid(plan={"sizes": [10]})
    runs = [run for run in whole.runs if not run.transfers]
    for run in whole.runs:
        if run.transfers:
            runs += [replace(run, name=f"{s}-{run.name}", settings=run.settings | {"source": s}) for s in "ab"]
    study = replace(whole, runs=tuple(runs))
    ladder = [{"name": str(i), "force_mae": {"value": 0.1 * i}} for i in range(5)]
    verdict = {"word": "go", "numbers": {"unexplained": 0.03, "map alone": 0.5, "auc": 0.6}}
    for source in "ab":
        put(tmp_path, "plan", f"{source}-corresponding_states-n10-seed0", rescales=True, ladder=ladder, verdict=verdict)
    errors = {None: 0.1, "a": 0.05, "b": 0.2}
    results = [
        RunResult(run, tmp_path, State.FINISHED, "", (), {"all": {"forces_mae": errors[run.replicate.source]}})
        for run in runs
    ]
    found = forecasts(study, tmp_path, results)
    assert [(f.source, f.after, f.scratch, f.agrees) for f in found] == [("a", 0.05, 0.1, True), ("b", 0.2, 0.1, False)]
