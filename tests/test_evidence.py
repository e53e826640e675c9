"""What the pages of evidence/ say follows from the committed raw results, by two ways of computing it."""

import json
import math
import shutil
from importlib import import_module
from pathlib import Path

import pytest

EVIDENCE = Path(__file__).parents[1] / "evidence"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(EVIDENCE))


@pytest.fixture
def claims_table():
    return import_module("claims_table")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The script that computes claims once more, and a folder of evidence for it."""
    script = import_module("recompute_claims")
    (tmp_path / "studies").symlink_to(EVIDENCE / "studies")
    monkeypatch.setattr(script, "HERE", tmp_path)
    return script, tmp_path


def report(errors):
    """start -> size -> errors of seeds 0, 1, ... in forces, those in energies twice as large."""
    return {
        "runs": [
            {
                "settings": {"start": start, "size": size, "seed": seed},
                "tests": {"all": {"forces_mae": error, "per_atom_energy_mae": 2 * error}},
            }
            for start, sizes in errors.items()
            for size, values in sizes.items()
            for seed, error in enumerate(values)
        ]
    }


def test_claims_are_found_again_by_other_code(copied, capsys):
    script, folder = copied
    text = (EVIDENCE / "claims.md").read_text()
    (folder / "claims.md").write_text(text)
    assert (script.main(), capsys.readouterr().out) == (0, "")
    ratio, other = "−20 % (−29 to −11)", "−21 % (−29 to −11)"
    assert text.count(f"forces {ratio}") == 1
    (folder / "claims.md").write_text(text.replace(f"forces {ratio}", f"forces {other}"))
    said = (script.main(), capsys.readouterr().out)
    assert said[0] == 1 and f"{other} is not found again" in said[1] and f"{ratio} is missing" in said[1]


def test_a_changed_error_is_noticed(copied):
    script, folder = copied
    shutil.copy(EVIDENCE / "claims.md", folder)
    changed = json.loads((EVIDENCE / "studies" / "mlearn_converged" / "report.json").read_text())
    changed["runs"][0]["tests"]["all"]["forces_mae"] *= 1.2
    (folder / "studies").unlink()
    shutil.copytree(EVIDENCE / "studies", folder / "studies")
    (folder / "studies" / "mlearn_converged" / "report.json").write_text(json.dumps(changed))
    assert script.main() == 1


def test_quantiles_of_students_t_in_closed_form():
    """tan(0.475 π) for one degree of freedom, 2 · 0.475 √(2 / (1 − 4 · 0.475²)) for two."""
    quantile = import_module("recompute_claims").quantile
    assert quantile(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-5)
    assert quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-5)


def test_prose_has_no_number_that_tables_do_not_have():
    """An interval of today is found, another is not; a strict page answers for every number, with what it links."""
    unfounded = import_module("check_prose").unfounded
    assert unfounded("converged_dft.md", "lower by 20 % (11 to 29), stresses by 19 % in the mean") == []
    assert unfounded("converged_dft.md", "lower by 20 % (12 to 34), 3.14 GPa") == ["20 % (12 to 34)"]
    assert unfounded("results.md", "[58.2 meV/Å](../../evidence/converged_dft.md)") == []
    assert unfounded("results.md", "[58.2 meV/Å](../../evidence/molecules_kept.md) of `3 %`") == ["58.2 meV/Å"]


def test_the_same_structures_are_compared_in_pairs_and_other_sizes_as_samples(claims_table):
    """Seeds differ tenfold and the starts by a half: pairs tell them apart, samples do not."""
    transfer, scratch = [1.0, 10.0, 100.1], [2.0, 20.0, 200.0]
    reports = {"a": report({"corresponding_states": {10: transfer}, "scratch": {10: scratch, 50: scratch}})}
    paired = claims_table.against_scratch("a").ratio(reports, "forces_mae")
    assert paired.paired and paired.told_apart and paired.ratio == pytest.approx(0.5, rel=1e-3)
    other = claims_table.Comparison(claims_table.Trainings("a"), claims_table.Trainings("a", "scratch", 50))
    assert not other.ratio(reports, "forces_mae").paired and not other.ratio(reports, "forces_mae").told_apart
    assert math.isclose(other.ratio(reports, "forces_mae").ratio, paired.ratio)
    assert claims_table.against_scratch("a").counted(reports) == "10 × 1 × 3"


def test_a_claim_does_not_rest_on_two_choices(claims_table):
    reports = {"a": report({"corresponding_states": {10: [1.0, 2.0]}, "scratch": {10: [3.0, 4.0]}})}
    with pytest.raises(ValueError, match="2 choices of structures, and a claim rests on 3"):
        claims_table.against_scratch("a").counted(reports)
