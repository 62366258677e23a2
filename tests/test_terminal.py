"""What a person sees while kt works."""

import os
import re
import subprocess
import sys
import warnings

import pytest
from conftest import TINY_RECIPE, make_folder

from kt.base.console import unwarned
from kt.base.progress import EpochLines

NOISE = re.compile(r"absl|oneDNN|cuInit|CUDA|cuda|retracing|WARNING|[IWE]0000|Traceback|[a-z]Warning:")

TIME = r"(?:\d+ min )?\d+(?:\.\d)? s"

SLOW = '''
import tensorflow as tf


def slowly(images):
    """The pictures as they are, after a while."""
    def wait(pictures):
        import time

        time.sleep(0.5)
        return pictures

    return tf.ensure_shape(tf.py_function(wait, [images], tf.float32), images.shape)


'''


def quietly(*arguments, cwd, **environment):
    """`kt` in an environment that says nothing about TensorFlow's logs, or what is given."""
    clean = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", "from kt.cli import main; main()", *map(str, arguments)],
        cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_says_a_line_an_epoch_and_nothing_of_the_libraries_below(tmp_path):
    make_folder(tmp_path / "pictures", {"red": 20, "green": 20})
    recipe = TINY_RECIPE.replace("recipe = Recipe(", SLOW + "recipe = Recipe(\n    augment=slowly,")
    (tmp_path / "tiny.py").write_text(recipe, encoding="utf-8")
    done = quietly("run", "tiny.py", "--set", "export=tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not NOISE.search(done.stderr), done.stderr
    lines = re.findall(
        rf"^phase train_head, epoch (\d)/4: validation accuracy \d\.\d{{3}}, loss \d\.\d{{4}}; {TIME}(.*)$",
        done.stderr, re.MULTILINE,
    )  # fmt: skip
    assert [epoch for epoch, _ in lines] == ["1", "2", "3", "4"]
    assert all(re.fullmatch(rf", about {TIME} left", left) for _, left in lines[:3]) and lines[3][1] == ""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["0", "2", None])
def test_no_library_is_heard_whatever_log_level_the_environment_has(level, tmp_path):
    make_folder(tmp_path / "pictures", {"red": 3, "green": 3})
    environment = {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = quietly("show", "pictures", cwd=tmp_path, **environment)
    assert done.returncode == 0
    assert not NOISE.search(done.stderr), done.stderr


def test_short_epochs_are_folded(capfd):
    lines = EpochLines("short", 500)
    for epoch in range(1, 501):
        lines.begin(epoch)
        lines.end({"val_loss": 0.5, "val_accuracy": 0.9})
    assert len(capfd.readouterr().err.splitlines()) < 10


WIDE = """
from rich.table import Table
from kt.base.console import tell_table
table = Table()
for title in ("strategy", "balanced accuracy", "against scratch"):
    table.add_column(title)
table.add_row("linear probe, all depths of it, and more", "0.996 (0.987 to 1.000)", "+74.6 (+73.7 to +75.0) points")
tell_table(table)
"""


def table_as_printed(**environment):
    done = subprocess.run(
        [sys.executable, "-c", WIDE], capture_output=True, text=True, check=True, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip
    return done.stdout


def test_a_table_in_a_file_has_each_row_in_one_line_with_every_figure():
    printed = table_as_printed(COLUMNS="60")
    assert "…" not in printed
    assert any("all depths of it, and more" in line and "+75.0) points" in line for line in printed.splitlines())


def test_a_table_on_a_narrow_terminal_is_wrapped_and_not_cut():
    printed = re.sub("\x1b[^m]*m", "", table_as_printed(COLUMNS="60", FORCE_COLOR="1", TERM="xterm"))
    assert "…" not in printed and all(len(line) <= 60 for line in printed.splitlines())
    for figure in ("0.996", "1.000)", "+73.7", "+75.0)"):
        assert figure in printed


def test_warnings_are_ignored_in_two_threads_at_once_and_none_for_longer():
    before = list(warnings.filters)
    first, second = unwarned("of this kind"), unwarned("of this kind")
    with pytest.warns(UserWarning) as seen:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # the one that began first ends first, as threads do
        warnings.warn("of this kind, while the other needs it", stacklevel=1)
        warnings.warn("of another", stacklevel=1)
        second.__exit__(None, None, None)
        warnings.warn("of this kind again", stacklevel=1)
    assert [str(one.message) for one in seen] == ["of another", "of this kind again"]
    with unwarned(category=DeprecationWarning):
        pass
    assert list(warnings.filters) == before
