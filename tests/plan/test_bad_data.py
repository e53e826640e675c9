"""Damaged, incomplete and mislabelled structures: one sentence that names them, or a right answer that says what was
left out. Nothing in between."""

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass

import ase.io
import numpy as np
import pytest
from ase import Atoms
from damages import (
    INF,
    NAN,
    N,
    added,
    as_text,
    as_virials,
    beside,
    called,
    celled,
    copied,
    crystal_without_forces,
    dimer,
    drop,
    energy_reads,
    in_unit_of_length,
    isolated,
    moved,
    renamed,
    replaced,
    set_label,
    times,
    truncated,
    upon_another,
)
from units import ENERGY, LENGTH, SHIFT

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.plan import PlanOptions, making
from nequip_elemtransfer.plan.report.summary import summary
from nequip_elemtransfer.plan.verdict import RACE
from nequip_elemtransfer.structures.options import DataOptions


@pytest.fixture(scope="module")
def good(source, crystals):
    """Germanium that is silicon in other units, with every label."""
    return crystals(source, "Ge", N, 5.7)


@pytest.fixture
def file(good, tmp_path):
    """Writes what a case makes of the good structures, and gives the path of the file."""

    def write(change):
        frames = [copied(atoms) for atoms in good]
        path = tmp_path / "structures.xyz"
        made = change(frames)
        if isinstance(made, (str, bytes)):
            path.write_bytes(made if isinstance(made, bytes) else made.encode())
        else:
            ase.io.write(path, frames if made is None else made)
        return path

    return write


@pytest.fixture
def run(source, monkeypatch):
    """The command on a file of structures; gives the exit code."""
    monkeypatch.setattr(making, "load_source", lambda path: source)
    monkeypatch.setattr(making, "source_structures", lambda *args: ([], "there are none"))
    return lambda path, *options: main(["plan", "nequip.net:a/source:1", str(path), *options])


@pytest.fixture
def made(source, monkeypatch):
    """The plan for a file of structures."""
    monkeypatch.setattr(making, "load_source", lambda path: source)
    monkeypatch.setattr(making, "source_structures", lambda *args: ([], "there are none"))
    return lambda path, **options: making.plan("nequip.net:a/source:1", path, PlanOptions(**options))


REFUSED = {
    "empty file": (lambda s: "", "structures.xyz"),
    "prose": (lambda s: "It was a dark and stormy night.\n", "cannot be read by ASE"),
    "bytes": (lambda s: bytes(range(256)), "structures.xyz"),
    "half a structure": (truncated, "cannot be read by ASE"),
    "compressed and cut": (lambda s: gzip.compress("".join(as_text(s)).encode())[:-40], "cannot be read by ASE"),
    "an empty line": (
        lambda s: "".join(as_text(s[:2])) + "\n" + "".join(as_text(s[2:])),
        "has text behind the empty line 21, where ASE stops reading, after 2 structures",
    ),
    "a thousand million atoms": (
        lambda s: "1000000000\n" + "".join(as_text(s)[1:]),
        "structure 0 of .* announces 1000000000 atoms",
    ),
    "no atoms": (added(Atoms(cell=[5, 5, 5], pbc=True)), f"structure {N} of .* has no atoms"),
    "NaN position": (moved(4, [NAN, 0, 0]), "position of atom 4 of structure 3 of .* is not finite"),
    "infinite position": (moved(5, [0, INF, 0]), "position of atom 5 of structure 3 of .* is not finite"),
    "NaN cell": (celled(NAN), "cell of structure 3 of .* finite"),
    "infinite cell": (celled(INF), "cell of structure 3 of .* finite"),
    "zero cell vector": (celled([[5, 0, 0], [0, 5, 0], [0, 0, 0]]), "structure 3 of .* cell vector of length zero"),
    "no cell": (celled(np.zeros((3, 3))), "structure 3 of .* cell vector of length zero"),
    "flat cell": (celled([[5, 0, 0], [0, 5, 0], [5, 5, 0]]), "cell vectors of structure 3 of .* lie in a plane"),
    "atoms upon each other": (upon_another(0.0), "structure 3 of .* has atoms 0 and 1 0 Å apart"),
    "atoms nearly so": (upon_another(0.1), "structure 3 of .* has atoms 0 and 1 0.1 Å apart"),
    "nanometres": (in_unit_of_length(0.1), "structure 0 of .* another unit than Å"),
    "absurd cell": (celled(np.eye(3) * 1e200), r"structure 3 of .* a cell vector with .* 1e\+200, more than 1e\+06"),
    "absurd position": (moved(1, [1e300, 0, 0]), r"structure 3 of .* has an atom with a coordinate of 1e\+300"),
    "two force components": (replaced("forces", np.ones((8, 2))), r"structure 2 of .* forces of shape \(8, 2\)"),
    "five stress components": (replaced("stress", np.ones(5)), "cannot be read by ASE: .* stress"),
    "four virial components": (lambda s: s[2].info.update(virial=np.ones(4)), "cannot be read by ASE: .* virial"),
    "absurd energy": (set_label("energy", -1e300, [2]), r"structure 2 of .* has an absurd \(-1e\+300\) energy label"),
    "absurd force": (set_label("forces", 1e300, [2], (6, 1)), r"structure 2 of .* absurd .* forces label of atom 6"),
    "infinite energy": (set_label("energy", INF, [2]), "structure 2 of .* infinite energy"),
    "infinite force": (set_label("forces", -INF, [2], (6, 1)), "structure 2 of .* infinite forces label of atom 6"),
    "infinite stress": (set_label("stress", INF, [2]), "structure 2 of .* infinite stress"),
    "energy in words": (energy_reads("low"), "structure 2 of .* energy 'low'"),
    "a whole number": (energy_reads("-3"), "structure 2 of .* energy '-3': .* decimal point"),
    "two energies": (replaced("energy", np.ones(2)), r"structure 2 of .* energies of shape \(2,\)"),
    "energies in kcal/mol": (times("energy", 23.0605), "energies look like kcal/mol"),
    "energies in Hartree": (times("energy", 1 / 27.2114), "energies look like Hartree"),
    "forces in kcal/mol/Å": (times("forces", 23.0605), "forces look like kcal/mol/Å"),
    "forces in Hartree/Bohr": (times("forces", 1 / 51.4221), "forces look like Hartree/Bohr"),
    "stresses in kbar": (times("stress", 1602.18), "stresses look like kbar"),
    "stresses in GPa": (times("stress", 160.218), "stresses look like GPa"),
    "pressures for stresses": (times("stress", -1), "opposite sign"),
    "gradients for forces": (times("forces", -1), "opposite sign"),
    "virials": (as_virials, "no stresses where NequIP looks, and 'virial' .*--key virial=virial"),
    "forces of another name": (called("forces", "dft_forces"), "'dft_forces' .*--key dft_forces=forces"),
    "two forces": (beside("forces", "REF_forces"), "two answers: forces and REF_forces .*--key REF_forces="),
    "stresses in bar": (times("stress", 1.60218e6), "1000 GPa .* look like bar"),
    "no labels": (drop("energy", "forces", "stress"), "no structure has energies, forces or stresses"),
    "isolated atoms alone": (lambda s: [isolated(-1.0), isolated(-1.0)], "isolated atoms do not count"),
    "labelled elements": (lambda s: "".join(as_text(s)).replace("\nGe ", "\nGe1 "), "it does not know 'Ge1'"),
    "no element": (renamed("X"), "structure 1 of .* no chemical element"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case, file, run, tmp_path, capsys):
    change, pattern = REFUSED[case]
    out = tmp_path / "out"
    assert run(file(change), "--out", str(out)) == 2
    printed = capsys.readouterr()
    sentence = printed.err.splitlines()[-1]  # after the progress bars
    assert sentence.startswith("nequip-elemtransfer: ") and "Traceback" not in printed.err and not printed.out
    assert re.search(pattern, sentence), sentence
    assert not out.exists()


@dataclass(frozen=True)
class Answer:
    """What a plan must say.

    Args:
        note: words that are said
        exact: whether λ, α and μ are those of the good structures
        verdict: of the plan; None for any
    """

    note: str = ""
    exact: bool = True
    verdict: str | None = None
    options: dict | None = None


ANSWERED: dict[str, tuple[Callable, Answer]] = {
    "as it should be": (lambda s: None, Answer(verdict="go")),
    "one NaN energy": (set_label("energy", NAN, [3]), Answer(f"of {N} structures, energies in 1", verdict="go")),
    "one NaN force": (set_label("forces", NAN, [3], (2, 0)), Answer(f"of {N} structures, forces in 1", verdict="go")),
    "one NaN stress": (set_label("stress", NAN, [3], 4), Answer(f"of {N} structures, stresses in 1", verdict="go")),
    "NaN in all kinds": (
        lambda s: [c(s) for c in (set_label("energy", NAN, [0]), set_label("forces", NAN, [1]),
                                  set_label("stress", NAN, [2]))] and None,
        Answer(f"of {N} structures, energies in 1, forces in 1, stresses in 1", verdict="go"),
    ),
    "all NaN but one energy": (set_label("energy", NAN, range(1, N)), Answer(f"energies in {N - 1}", verdict="go")),
    "no energies": (drop("energy"), Answer("No structure has energies", exact=False, verdict="go")),
    "NaN energies": (set_label("energy", NAN), Answer("No structure has energies", exact=False, verdict="go")),
    "no forces": (drop("forces"), Answer("No structure has forces", False, RACE)),
    "NaN forces": (set_label("forces", NAN), Answer("No structure has forces", False, RACE)),
    "no stresses": (drop("stress"), Answer("No structure has stresses", verdict="go")),
    "energies alone": (drop("forces", "stress"), Answer("No structure has forces", False, RACE)),
    "forces alone": (drop("energy", "stress"), Answer("No structure has energies", exact=False, verdict="go")),
    "stresses alone": (drop("energy", "forces"), Answer("No structure has energies", False, RACE)),
    "one without energy": (drop("energy", frames=[2]), Answer("energies in 1", verdict="go")),
    "one without forces": (drop("forces", frames=[2]), Answer("forces in 1", verdict="go")),
    "half without stress": (drop("stress", frames=[0, 2, 4]), Answer("stresses in 3", verdict="go")),
    "one without anything": (
        drop("energy", "forces", "stress", frames=[2]), Answer("energies in 1, forces in 1", verdict="go")
    ),
    "virials for stresses": (
        as_virials,
        Answer("Converted virial to stress", verdict="go", options={"data": DataOptions({"virial": "virial"})}),
    ),
    "forces of another name": (
        called("forces", "dft_forces"),
        Answer("Read dft_forces as forces", verdict="go", options={"data": DataOptions({"dft_forces": "forces"})}),
    ),
    "one structure": (lambda s: s[:1], Answer("nothing to hold out", exact=False, verdict=RACE)),
    "copies of one": (lambda s: [s[0]] * N, Answer("nothing to hold out", exact=False, verdict=RACE)),
    "two structures": (lambda s: s[:2], Answer(exact=False)),
    "an isolated atom": (added(isolated(-1.0)), Answer(f"Structure no. {N} holds isolated atoms only", verdict="go")),
    "an absurd isolated atom": (added(isolated(50.0)), Answer(f"no. {N} holds isolated atoms only", verdict="go")),
    "two isolated atoms": (
        lambda s: [isolated(-1.0), *s, isolated(-2.0)],
        Answer(f"no. 0, no. {N + 1} hold isolated atoms only", verdict="go"),
    ),
    "a molecule among crystals": (added(dimer()), Answer("stresses in 1", exact=False)),
    "slab stresses": (
        lambda s: [a.set_pbc([True, True, False]) for a in s[:2]] and None, Answer("stresses in 2", exact=False)
    ),
    "perfect crystals": (crystal_without_forces, Answer(exact=False, verdict=RACE)),
    "equal energies": (set_label("energy", -30.0), Answer(exact=False)),
    "one enormous force": (set_label("forces", 1e4, [2], (0, 0)), Answer("robust standard", False, RACE)),
    "Bohr for Å": (in_unit_of_length(1.8897), Answer(exact=False, verdict=RACE)),
    "another element as well": (renamed("C"), Answer(exact=False)),
    "empty lines at the end": (lambda s: "".join(as_text(s)) + "\n \n", Answer(verdict="go")),
    "line ends of Windows": (lambda s: "".join(as_text(s)).replace("\n", "\r\n"), Answer(verdict="go")),
    "a type that is nowhere": (
        lambda s: None, Answer("no energy changes with", verdict="go", options={"elements": {"Ge": "Si", "Pb": "Si"}})
    ),
    "stresses of zero": (set_label("stress", 0.0, range(4)), Answer(f"4 of {N} structures", verdict="go")),
    "forces of zero": (set_label("forces", 0.0, [0, 3]), Answer("no symmetry asks for it", verdict="go")),
    "energies of zero": (set_label("energy", 0.0, [1, 2]), Answer("energy of exactly 0", verdict="go")),
    "two zeros of energy": (
        lambda s: [set_label("energy", a.calc.results["energy"] + 30, [i])(s) for i, a in enumerate(s[:2])] and None,
        Answer("or another zero of energy in the same file", False, RACE),
    ),
    "all in kcal/mol": (
        lambda s: [times(name, 23.0605)(s) for name in ("energy", "forces", "stress")] and None,
        Answer("FILE --energy-unit kcal/mol --out", False, RACE),
    ),
    "all in Hartree and Bohr": (
        lambda s: [times("energy", 1 / 27.2114)(s), times("forces", 1 / 51.4221)(s), times("stress", 0.0)(s)] and None,
        Answer("--energy-unit Hartree --force-unit Hartree/Bohr", False, RACE),
    ),
    "all in kcal/mol, and said so": (
        lambda s: [times(name, 23.060548)(s) for name in ("energy", "forces", "stress")] and None,
        Answer("energies from kcal/mol", verdict="go", options={"data": DataOptions(energy_unit="kcal/mol")}),
    ),
    "random start": (lambda s: None, Answer(exact=False, options={"elements": {"Ge": "random"}})),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERED)
def test_answered_with_a_note(case, file, made):
    change, answer = ANSWERED[case]
    plan = made(file(change), **(answer.options or {}))
    text = summary(plan)
    assert answer.note in text, text
    if answer.verdict is not None:
        assert plan.verdict.word == answer.verdict, text
    if answer.exact:
        assert plan.length_scale["Ge"] == pytest.approx(LENGTH, abs=0.003)
        assert plan.energy_scale["Ge"] == pytest.approx(ENERGY, rel=0.02)
        assert plan.energy_shifts["Ge"] == pytest.approx(SHIFT, abs=0.02)
    assert all(np.isfinite(list(plan.length_scale.values()))) and all(np.isfinite(list(plan.energy_shifts.values())))


def test_a_failing_fit_is_not_taken_for_an_answer(file, made, monkeypatch):
    """NumPy's LinAlgError is a ValueError: what is caught is that nothing resembles, and nothing else."""

    def fail(*args):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(fit.Minimum, "of", fail)
    with pytest.raises(np.linalg.LinAlgError):
        made(file(lambda s: None))
