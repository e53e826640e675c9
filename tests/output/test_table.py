"""Tables of a terminal: aligned, with nothing that it would obey, and in 80 columns where words can be moved."""

from nequip_elemtransfer.output.table import table


def test_columns_are_aligned():
    assert table(["a", "b"], [["xyz", "1"], ["", "-10"]], [False, True]) == "a      b\n--------\nxyz    1\n     -10"


def test_lines_of_a_cell_stand_below_each_other():
    shown = table(["", "error"], [["start", ("85.5", "[40.6, 117.2]")], ["end", "7"]], [False, True])
    assert shown.splitlines() == [
        "               error",
        "--------------------",
        "start           85.5",
        "       [40.6, 117.2]",
        "end                7",
    ]


def test_words_of_a_wide_header_stand_below_each_other():
    words = "energy MAE, shifts refitted"
    narrow = table(["step", words], [["map", "1.0"]], [False, True])
    assert narrow.splitlines()[0] == f"step  {words}"
    wide = table(["step", *[words] * 5], [["map", *["1.0"] * 5]], [False, *[True] * 5]).splitlines()
    assert wide[:3] == [
        "      " + "  ".join(["  energy"] * 5),
        "      " + "  ".join(["    MAE,"] * 5),
        "      " + "  ".join(["  shifts"] * 5),
    ]
    assert wide[3].startswith("step  refitted") and max(map(len, wide)) <= 80


def test_what_a_file_holds_is_only_shown():
    assert table(["a"], [["\x1b[31mred\nline"], [("\n", "b")]], [False]).splitlines()[2:] == [
        r"\x1b[31mred\nline",
        r"\n",
        "b",
    ]
