import os
import signal
import time

import pytest

from nequip_elemtransfer.output import atomic
from nequip_elemtransfer.output.atomic import folder_beside, require_folder, write_text, written_together


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


def test_names_and_folders_are_kept(tmp_path):
    """NequIP goes by the ending of a name; files of several folders may be written together, and of none."""
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "m.nequip.pth", tmp_path / "other" / "m.nequip.pth"]
    with written_together(paths) as partial:
        assert [path.name for path in partial] == ["m.nequip.pth"] * 2
        for i, path in enumerate(partial):
            path.write_text(str(i))
    assert [path.read_text() for path in paths] == ["0", "1"]
    with written_together([]) as partial:
        assert partial == []


def test_folders_are_made_with_their_files_alone(tmp_path):
    out = tmp_path / "a" / "b" / "c"
    with pytest.raises(OSError, match="disk full"), written_together([out]):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    write_text(out, "new")
    assert out.read_text() == "new" and list(out.parent.iterdir()) == [out]
    with pytest.raises(NotADirectoryError, match="d cannot be written: .*c is a file, not a folder"):
        write_text(out / "d", "new")


def test_what_exists_is_kept_unless_forced(tmp_path):
    """Also a file that came meanwhile: then none of the files appears."""
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text("precious")
    with pytest.raises(FileExistsError, match="second exists already; force .--force. replaces it"):
        with written_together([first, second], force=False):
            pytest.fail("refused before any work")
    second.unlink()
    with pytest.raises(FileExistsError), written_together([first, second], force=False) as partial:
        for path in partial:
            path.write_text("new")
        second.write_text("precious")
    assert list(tmp_path.iterdir()) == [second] and second.read_text() == "precious"


def test_a_file_that_was_not_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), written_together([tmp_path / "a"]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_litter_of_a_killed_process_is_removed_by_the_next(tmp_path, in_child, number):
    def killed():
        with written_together([tmp_path / "a"]) as (a,):
            a.write_text("half")
            os.kill(os.getpid(), number)
            time.sleep(60)

    assert in_child(killed)() == -number
    (litter,) = tmp_path.iterdir()
    assert (litter / "a").read_text() == "half"
    with folder_beside(tmp_path / "b"):
        assert not litter.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_is_writing_is_left_alone(tmp_path, in_child):
    """However long it takes, and whether or not this process could end it."""
    begun, go_on = (tmp_path / "pipe").with_suffix(".begun"), tmp_path / "pipe"
    os.mkfifo(begun)
    os.mkfifo(go_on)

    def slow():
        with written_together([tmp_path / "a"]) as (a,):
            a.write_text("whole")
            begun.write_text("begun")
            go_on.read_text()

    wait = in_child(slow)
    begun.read_text()
    with written_together([tmp_path / "b"]) as (b,):
        b.write_text("another")
    go_on.write_text("go on")
    assert wait() == 0
    assert (tmp_path / "a").read_text() == "whole" and (tmp_path / "b").read_text() == "another"


def test_litter_of_another_machine_is_left_alone(tmp_path, monkeypatch):
    """On a shared disk, locks may hold on one machine only."""
    monkeypatch.setattr(atomic.platform, "node", lambda: "elsewhere")
    with folder_beside(tmp_path / "a") as folder:
        monkeypatch.undo()
        (folder / ".lock").unlink()  # as if it could not be seen from here
        with folder_beside(tmp_path / "b"):
            assert folder.exists()


def test_folders_are_checked_before_work_is_done_for_them(tmp_path):
    require_folder(tmp_path / "new", ["a"], force=False)
    (tmp_path / "a").write_text("precious")
    require_folder(tmp_path, ["b"], force=False)
    require_folder(tmp_path, ["a"], force=True)
    with pytest.raises(FileExistsError, match="a exists already; force .--force. replaces it"):
        require_folder(tmp_path, ["b", "a"], force=False)
    with pytest.raises(NotADirectoryError, match="a is a file, not a folder"):
        require_folder(tmp_path / "a", ["b"], force=True)
