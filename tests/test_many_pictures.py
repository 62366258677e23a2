"""What is stored of many pictures stays on the disk and does not fill the memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_hundred_thousand_pictures_at_1280_features_train_in_less_than_two_gigabytes(tmp_path):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "facts" / "many_pictures.py")],
        env={**os.environ, "KT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.npy")) > 100_000 * 1280 * 4
    assert int(done.stdout.splitlines()[-1]) < 2 * 10**9
