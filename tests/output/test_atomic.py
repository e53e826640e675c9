import pytest

from nequip_elemtransfer.output.atomic import written_together


def test_all_or_none(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    with pytest.raises(OSError, match="disk full"), written_together(paths) as (a, b):
        a.write_text("new")
        b.write_text("half")
        raise OSError("disk full")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and paths[0].read_text() == "old"
    with written_together(paths) as partial:
        for path in partial:
            path.write_text("new")
        assert paths[0].read_text() == "old" and not paths[1].exists()
    assert sorted(tmp_path.iterdir()) == paths and [path.read_text() for path in paths] == ["new", "new"]
