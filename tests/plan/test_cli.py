"""What ``nequip-elemtransfer plan --out`` refuses before it reads anything."""

import pytest

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.output.processes import only_one


@pytest.fixture
def refused(tmp_path_factory, capsys):
    """The sentence with which a plan of empty files is refused."""
    files = [tmp_path_factory.mktemp("empty") / name for name in ("no.ckpt", "no.xyz")]
    for file in files:
        file.touch()

    def refuse(out, *options):
        assert main(["plan", *map(str, files), "--out", str(out), *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith("nequip-elemtransfer: ") and error.count("\n") == 1
        return error

    return refuse


def test_files_that_exist(tmp_path, refused):
    (tmp_path / "train.yaml").write_text("precious")
    assert "train.yaml exists already" in refused(tmp_path)
    assert "no.ckpt" in refused(tmp_path, "--force")
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


def test_a_file_in_place_of_the_folder(tmp_path, refused):
    (tmp_path / "file").write_text("precious")
    assert "is a file, not a folder" in refused(tmp_path / "file")


def test_another_plan_is_at_work(tmp_path, refused, in_child):
    out = tmp_path / "out"
    with only_one(out, "a plan"):

        def second():
            assert "another `nequip-elemtransfer plan` is at work in" in refused(out)

        assert in_child(second)() == 0
    assert "no.ckpt" in refused(out) and not out.exists()
