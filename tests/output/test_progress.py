"""Bars where there is no terminal."""

from nequip_elemtransfer.output.progress import progress_bar


def test_lines_instead_of_a_bar_that_is_drawn_again(capsys):
    """The first and the last; what comes between within half a minute is not written."""
    assert list(progress_bar(range(1000), desc="structures")) == list(range(1000))
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("structures:   0%|") and "0/1000" in first
    assert last.startswith("structures: 100%|") and "1000/1000" in last and len(last) <= 80
