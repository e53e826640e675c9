"""Processes of their own, for what a second or a killed process does."""

import os

import pytest


@pytest.fixture
def in_child():
    """Starts ``work()`` in a process of its own and gives a function that waits for its exit status or signal."""
    started = []

    def start(work):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        started.append(pid)

        def wait():
            started.remove(pid)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        return wait

    yield start
    for pid in started:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
