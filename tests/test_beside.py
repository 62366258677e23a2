"""Work in a thread: its result, its error, and that nothing waits for it at the end."""

import subprocess
import sys
import threading

import pytest

from kt.base.beside import beside
from kt.errors import DataError


def test_it_goes_on_while_something_else_is_done_and_gives_its_result_as_often_as_asked():
    go = threading.Event()
    wait = beside(lambda: (go.wait(30), "done"))
    go.set()
    assert wait() == (True, "done") and wait() == (True, "done")


def test_its_error_is_raised_where_the_result_is_asked_for():
    def fails():
        raise DataError("no picture")

    wait = beside(fails)
    for _ in range(2):
        with pytest.raises(DataError, match="no picture"):
            wait()


def test_a_process_that_ends_does_not_wait_for_it():
    script = "import time; from kt.base.beside import beside; beside(lambda: time.sleep(600)); print('end')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "end\n" and done.stderr == ""
