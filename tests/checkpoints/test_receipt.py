import copy

import pytest
import yaml

from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.source import SourceModel


def receipt(provenance):
    return TransferRecord.from_dict(provenance).text()


PROVENANCE = {
    "weights": "fedcba9876543210" * 4,
    "source": "../si/best.ckpt",
    "sha256": "0123456789abcdef" * 4,
    "elements": {"Ge": "Si", "Pb": {"Si": 0.25, "Sn": 0.75}},
    "length_scale": {
        "setting": "covalent_radii",
        "per_type": {"Ge": 1.0810810, "Pb": 1.1},
        "decided_by": "given",
        "by_kind": {},
        "covalent_radii": {"Ge": 1.0810810, "Pb": 1.1},
        "r_max": {"source": 5.0, "target": 5.5},
    },
    "energy_scale": {
        "setting": 0.75,
        "per_type": {"Ge": 0.75, "Pb": 0.75},
        "common_to": [],
        "per_type_energy_scales": {"Ge": 0.975, "Pb": 0.975},
    },
    "energy_shifts": {
        "setting": {"Ge": -3.9, "Pb": -12.3456789},
        "per_type": {"Ge": -3.9, "Pb": -12.3456789},
        "errors": {"Ge": 0.0, "Pb": 0.0},
        "rank": 0,
        "fitted_types": [],
        "undetermined_types": [],
    },
    "n_frames": 5,
    "missing_labels": {"energy": 0, "forces": 0, "stress": 0},
    "isolated_atoms": [],
    "tensors": [
        {"name": "type_embed.weight", "shape": [2, 32], "action": "remapped"},
        {"name": "layer0.edge_mlp.mlp.0.weight", "shape": [8, 64], "action": "rescaled"},
        {"name": "readout.weight", "shape": [32], "action": "copied"},
        {"name": "edge_norm._rmax_recip", "shape": [], "action": "from config"},
    ],
    "zero_shot": [
        {
            "step": step,
            "force_mae": f,
            "force_rmse": f * 1.5,
            "energy_mae": e,
            "energy_mae_refitted": e / 2,
            "stress_mae": f / 100,
        }
        for step, f, e in [
            ("element map", 0.267, 12.0814),
            ("+ length scale", 0.117, 0.0826),
            ("+ energy scale", 0.0924, 0.0162),
            ("+ energy shifts", 0.0924, 0.0161),
        ]
    ],
}


def sections():
    return receipt(PROVENANCE).split("\n\n")


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_headline():
    assert sections()[0] == (
        "Element transfer: Ge from Si; Pb from 0.25 Si + 0.75 Sn\nsource ../si/best.ckpt (sha256 0123456789ab...)"
    )


def test_every_tensor_has_its_row():
    header, rule, *rows = sections()[1].splitlines()
    assert cells(header) == ["tensor", "shape", "what was done"]
    assert set(rule) == {"-"}
    assert [cells(row) for row in rows] == [
        ["type_embed.weight", "(2, 32)", "remapped"],
        ["layer0.edge_mlp.mlp.0.weight", "(8, 64)", "rescaled"],
        ["readout.weight", "(32,)", "copied"],
        ["edge_norm._rmax_recip", "()", "from config"],
    ]


def test_scales_and_shifts_of_each_type_and_where_they_come_from():
    header, _, settings, *rows, cutoffs = sections()[2].splitlines()
    assert cells(header) == ["type", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    assert cells(settings) == ["(covalent_radii)", "(given)", "(given)"]
    assert [cells(row) for row in rows] == [
        ["Ge", "1.0811", "0.7500", "-3.9000"],
        ["Pb", "1.1000", "0.7500", "-12.3457"],
    ]
    assert cutoffs == "cutoff radius 5.0000 Å -> 5.5000 Å"


def test_what_the_data_did_not_determine_is_said():
    provenance = copy.deepcopy(PROVENANCE)
    provenance["energy_scale"]["common_to"] = ["Ge", "Pb"]
    provenance["energy_shifts"] |= {
        "rank": 2,
        "fitted_types": ["Ge", "Pb", "C"],
        "undetermined_types": ["Ge", "Pb"],
    }
    said, not_said = receipt(provenance).split("\n\n")[2], sections()[2]
    notes = said.removeprefix(not_said).splitlines()[1:]
    assert notes[0].startswith("one α for Ge, Pb:")
    assert notes[1].startswith("the compositions (rank 2 of 3) do not determine the shifts of Ge, Pb one by one:")
    assert len(notes) == 2


def notes(**changes):
    """The lines after the table of scales; a dict is merged into the provenance's own."""
    provenance = copy.deepcopy(PROVENANCE)
    for name, value in changes.items():
        provenance[name] = provenance[name] | value if isinstance(value, dict) else value
    return receipt(provenance).split("\n\n")[2].splitlines()[6:]


def test_no_notes_where_nothing_is_to_be_said():
    assert notes() == []


def test_a_length_that_labels_decided_is_shown_with_what_each_kind_asks_for():
    fitted = {
        "setting": "fit",
        "decided_by": "labels",
        "per_type": {"Ge": 1.06, "Pb": 1.1},
        "by_kind": {"forces": {"Ge": 1.085, "Pb": 1.0}, "stress": {"Ge": 1.06, "Pb": 1.0}},
    }
    assert notes(length_scale=fitted) == ["λ of Ge by forces alone 1.085, stress alone 1.060"]
    fitted["per_type"]["Ge"] = 1.041
    assert notes(length_scale=fitted)[1].startswith(
        "covalent radii would say 1.081 for Ge, 3.7% from what the labels ask"
    )


@pytest.mark.parametrize(("decided_by", "said"), [("covalent radii", "that of the covalent radii"), ("nothing", "1")])
def test_a_length_that_labels_could_not_decide(decided_by, said):
    found = notes(length_scale={"setting": "fit", "decided_by": decided_by})
    assert found == [f"the labels do not tell one length scale from another, so λ is {said}"]


def test_what_the_fits_left_out_is_said():
    found = notes(missing_labels={"energy": 2, "forces": 0, "stress": 3}, isolated_atoms=[1, 4])
    assert found == [
        "of 5 structures, 2 without energy, 3 without stress",
        "isolated atoms, which say nothing of bonds, are left out of the fits: structure 1, 4",
    ]


def test_what_was_fitted_carries_its_errors():
    """None of what was given, and a question mark where one structure does not tell."""
    provenance = copy.deepcopy(PROVENANCE)
    provenance["length_scale"]["errors"] = {"Ge": 0.00456, "Pb": 0.0}
    provenance["energy_scale"]["errors"] = {"Ge": None, "Pb": 0.021}
    provenance["energy_shifts"]["errors"]["Ge"] = 0.0123
    _, _, _, *rows, _ = receipt(provenance).split("\n\n")[2].splitlines()
    assert [cells(row) for row in rows] == [
        ["Ge", "1.0811 ± 0.0046", "0.7500 ± ?", "-3.9000 ± 0.0123"],
        ["Pb", "1.1000", "0.7500 ± 0.0210", "-12.3457"],
    ]


def test_what_was_done_with_a_pair_potential_is_said():
    assert notes(pair_potential=None) == []
    said, given = notes(pair_potential="ZBL", length_scale={"decided_by": "given"})
    assert said == (
        "pair potential ZBL: neither λ nor α scales it, but its envelope ends at the target's cutoff; what is fitted "
        "of λ, α and μ is fitted to the labels less it"
    )
    assert given.startswith("λ was not fitted: beside a pair potential it is that of the network alone")
    fitted = {"decided_by": "labels", "covalent_radii": None}
    assert notes(pair_potential="ZBL", length_scale=fitted) == [said]


def test_a_receipt_of_an_earlier_version_can_still_be_read():
    provenance = copy.deepcopy(PROVENANCE)
    for name in ("decided_by", "by_kind", "covalent_radii"):
        del provenance["length_scale"][name]
    del provenance["missing_labels"], provenance["isolated_atoms"], provenance["energy_shifts"]["errors"]
    for row in provenance["zero_shot"]:
        del row["stress_mae"]
    assert sections()[2] == receipt(provenance).split("\n\n")[2]


def test_one_fitted_scale_is_common_to_nothing():
    provenance = copy.deepcopy(PROVENANCE)
    provenance["energy_scale"]["common_to"] = ["Ge"]
    assert receipt(provenance) == receipt(PROVENANCE)


def test_errors_after_each_step_of_the_initialisation():
    title, header, _, units, *rows = sections()[3].splitlines()
    assert title == "Errors on the 5 training structures before any training:"
    errors = ["force MAE", "force RMSE", "energy MAE", "shifts refitted", "stress MAE"]
    assert cells(header) == ["initialisation", *errors]
    assert cells(units) == ["meV/Å", "meV/Å", "meV/atom", "meV/atom", "meV/Å³"]
    assert [cells(row) for row in rows] == [
        ["element map", "267.0", "400.5", "12081.4", "6040.7", "2.7"],
        ["+ length scale", "117.0", "175.5", "82.6", "41.3", "1.2"],
        ["+ energy scale", "92.4", "138.6", "16.2", "8.1", "0.9"],
        ["+ energy shifts", "92.4", "138.6", "16.1", "8.1", "0.9"],
    ]


@pytest.mark.parametrize(
    ("missing", "columns"),
    [
        (("force_mae", "force_rmse"), (1, 2)),
        (("energy_mae", "energy_mae_refitted"), (3, 4)),
        (("stress_mae",), (5,)),
    ],
)
def test_errors_without_labels_are_dashes(missing, columns):
    provenance = copy.deepcopy(PROVENANCE)
    for row in provenance["zero_shot"]:
        row |= dict.fromkeys(missing)
    for line in receipt(provenance).splitlines()[-4:]:
        found = cells(line)
        assert {i for i, cell in enumerate(found) if cell == "-"} == set(columns)


@pytest.mark.parametrize("provenance", [None, PROVENANCE])
def test_a_source_is_described_by_its_options_size_and_history(nequip_architecture, build, provenance):
    architecture = nequip_architecture("Si", per_edge_type_cutoff=None)
    model = build(architecture)
    text = SourceModel("si.ckpt", "2f" * 32, architecture, model.state_dict(), provenance).describe()
    head, options, size, *history = text.split("\n\n", 3)
    assert head == f"si.ckpt (sha256 {'2f' * 32})"
    assert yaml.safe_load(options) == {name: v for name, v in architecture.items() if v is not None}
    assert size == f"{sum(p.numel() for p in model.parameters())} parameters"
    assert history == ([] if provenance is None else ["made by a transfer:\n\n" + receipt(provenance)])


def test_columns_are_aligned():
    text = table(["name", "x", "y"], [["a", "1.0", "left"], ["longer", "-10.0", "l"]], [False, True, False])
    assert text == "\n".join(
        [
            "name        x  y",
            "-------------------",
            "a         1.0  left",
            "longer  -10.0  l",
        ]
    )


def test_a_wide_header_sets_the_width_of_its_column():
    text = table(["", "energy (eV)"], [["a", "1"]], [False, True])
    assert text.splitlines() == ["   energy (eV)", "--------------", "a            1"]


def test_numbers_of_a_column_end_in_one_place():
    for section in sections()[2:]:
        rows = [line for line in section.splitlines() if line.startswith(("Ge", "Pb", "element map", "+"))]
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == (2 if section.startswith("type") else 4)
