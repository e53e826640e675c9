"""How the trainings of a study are run: folders, failures, locks and cores; nothing is trained."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nequip_elemtransfer.output.processes import threads_per_job
from nequip_elemtransfer.study.grid import Run
from nequip_elemtransfer.study.run.tasks import Training, _reason, only_one_study


def test_interrupted_folders_lose_nothing(tmp_path):
    """Without a restart point a run begins anew beside what there was; with one, the metrics so far are kept."""
    training = Training(Run("scratch-n4-seed0", {}, "config.yaml", ()), tmp_path)
    run = tmp_path / "runs" / "scratch-n4-seed0"
    run.mkdir(parents=True)
    (run / "nequip-train.log").write_text("first")
    training.make_ready()
    assert (tmp_path / "runs" / "scratch-n4-seed0.before_1" / "nequip-train.log").read_text() == "first"
    (run / "metrics").mkdir(parents=True)
    (run / "restart.ckpt").write_bytes(b"cut off")
    training.make_ready()
    assert not any(run.iterdir()) and (tmp_path / "runs" / "scratch-n4-seed0.before_2" / "metrics").exists()


def test_command(tmp_path):
    training = Training(Run("scratch-n4-seed0", {}, "config.yaml", ()), tmp_path)
    fresh = training.command()
    assert fresh[1:3] == ["-m", "nequip.scripts.train"] and "+training=scratch-n4-seed0" in fresh
    training.make_ready()
    (tmp_path / "runs" / "scratch-n4-seed0" / "restart.ckpt").touch()
    assert f'++ckpt_path="{tmp_path}/runs/scratch-n4-seed0/restart.ckpt"' in training.command()


def test_reason_of_a_failure(tmp_path):
    log = tmp_path / "nequip-train.log"
    assert _reason(1, log) == "no output"
    log.write_text("Epoch 1\nout of luck\n\n")
    assert _reason(1, log) == "out of luck"
    log.write_text("Traceback\nomegaconf.errors.InterpolationResolutionError: ValueError: no\n    full_key: a\nb=c\n")
    assert _reason(1, log) == "omegaconf.errors.InterpolationResolutionError: ValueError: no"
    assert _reason(-9, log) == "ended by signal 9 (SIGKILL)"


def test_trainings_left_behind_keep_others_out(tmp_path):
    """A study that is killed leaves its trainings running; until they end, the folder is taken."""
    killed = f"""
import os, signal, subprocess
from pathlib import Path
from nequip_elemtransfer.study.run.tasks import only_one_study
with only_one_study(Path({str(tmp_path)!r})) as lock:
    process = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()], stdout=subprocess.DEVNULL)
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    left = int(subprocess.run([sys.executable, "-c", killed], stdout=subprocess.PIPE, text=True).stdout)
    with pytest.raises(ValueError, match="is at work in"), only_one_study(tmp_path):
        pass
    os.kill(left, signal.SIGKILL)
    for _ in range(100):
        try:
            with only_one_study(tmp_path):
                return
        except ValueError:
            time.sleep(0.05)
    pytest.fail("the folder is still taken")


def test_jobs_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    assert [threads_per_job(jobs) for jobs in (1, 2, 5, 40)] == [12, 6, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert [threads_per_job(jobs) for jobs in (1, 2, 5)] == [4, 4, 2]
