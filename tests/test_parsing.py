"""Two threads may parse at the same time, under every Python that kt runs on."""

import subprocess
import sys

PARSING = """
import ast, gc, sys, threading, time
from kt.base.parsing import one_at_a_time

one_at_a_time()
sys.setswitchinterval(1e-5)
gc.set_threshold(50)

class Rubbish:
    def __init__(self):
        self.itself = self

    def __del__(self):  # runs in garbage collection, where another thread may come in
        for _ in range(200):
            pass

source = "\\n".join(f"def f{number}(a, b=1):\\n    return [a + b for a in range(10) if a]" for number in range(40))
end, failed = time.monotonic() + 3, []

def parse():
    while time.monotonic() < end and not failed:
        Rubbish()
        try:
            ast.parse(source)
            ast.literal_eval("{'shape': (3, 4)}")
        except SystemError as error:
            failed.append(error)

threads = [threading.Thread(target=parse) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""


def test_threads_that_parse_do_not_disturb_each_other():
    done = subprocess.run([sys.executable, "-c", PARSING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_process_of_kt_is_kept_from_it():
    code = (
        "import ast, kt.base.backend as backend, kt.base.parsing as parsing; backend.settle();"
        "print(hasattr(ast.parse, '__wrapped__') == parsing._FAULTY)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
