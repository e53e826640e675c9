import errno
import os
import signal
import time
from pathlib import Path

import pytest

from nequip_elemtransfer.output import processes
from nequip_elemtransfer.output.processes import only_one


def test_a_second_process_is_refused(tmp_path, in_child):
    out = tmp_path / "out"

    def second():
        with pytest.raises(ValueError, match="a plan is at work in .*out: wait for it, end it, or give another"):
            with only_one(out, "a plan"):
                pass

    with only_one(out, "a plan"):
        assert in_child(second)() == 0
        assert out.is_dir()
    with only_one(out, "a plan"):
        pass


def test_a_killed_process_keeps_nobody_out(tmp_path, in_child):
    def killed():
        with only_one(tmp_path, "a plan"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed)() == -signal.SIGKILL
    with only_one(tmp_path, "a plan"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_that_stay_empty_are_removed(tmp_path):
    out = tmp_path / "a" / "b"
    with pytest.raises(OSError, match="no data"), only_one(out, "a plan"):
        raise OSError("no data")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with only_one(out, "a plan"):
        (out / "report").touch()
    assert list(out.iterdir()) == [out / "report"]
    with only_one(tmp_path / "a" / "c", "a plan"):
        pass
    assert list((tmp_path / "a").iterdir()) == [out]


def test_many_at_once_are_one_at_a_time(tmp_path, in_child):
    """The file of the lock comes and goes; two processes never hold it together."""
    out, inside = tmp_path / "out", tmp_path / "inside"

    def contend():
        taken = 0
        while taken < 20:
            try:
                with only_one(out, "a plan"):
                    inside.touch(exist_ok=False)
                    inside.unlink()
                    taken += 1
            except ValueError:
                time.sleep(0.001)

    assert [wait() for wait in [in_child(contend) for _ in range(4)]] == [0] * 4


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, number):
    def mkdir(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(processes.Path, "mkdir", mkdir)
    with pytest.raises(OSError, match=f"out cannot be written: {os.strerror(number)}") as error:
        with only_one(tmp_path / "out", "a plan"):
            pass
    assert "\n" not in str(error.value)


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(OSError, match="out cannot be written"), only_one(Path("out"), "a plan"):
        pass


@pytest.mark.parametrize("out", ["file", "file/out", "link"])
def test_a_file_is_no_folder(tmp_path, out):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"), only_one(tmp_path / out, "a plan"):
        pass
    assert (tmp_path / "file").read_text() == "precious" and len(list(tmp_path.iterdir())) == 2


def test_a_disk_without_locks(tmp_path, monkeypatch):
    """Work goes on there; nobody is kept out, and nothing is taken for litter."""

    def flock(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(processes.fcntl, "flock", flock)
    with only_one(tmp_path, "a plan"), open(tmp_path / "file", "a") as file:
        assert processes.locked(file, without_locks=True) and not processes.locked(file, without_locks=False)
