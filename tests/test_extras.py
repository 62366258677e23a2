"""What can be installed beside kt, and the command that does so."""

import json
import os
import shlex
import subprocess
import sys
import textwrap

import pytest
from conftest import REPOSITORY
from conftest import kt as run_kt

METADATA = """\
Metadata-Version: 2.4
Name: kt-transfer
Version: 0.1.0
Requires-Dist: click
Requires-Dist: numpy; extra == "maths"
Requires-Dist: nowhere-at-all>=3,<4; extra == "magic"
Requires-Dist: kt-transfer[maths]; extra == "magic"
Requires-Dist: numpy>=1000; extra == "newer"
Requires-Dist: another-one; sys_platform == "none" and extra == "elsewhere"
Provides-Extra: maths
Provides-Extra: magic
Provides-Extra: newer
Provides-Extra: elsewhere
"""


@pytest.fixture
def installed(tmp_path):
    """A function that pretends kt was installed from a place, and gives the environment in which that is so."""

    def install(direct_url=None):
        folder = tmp_path / "site" / "kt_transfer-0.1.0.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "METADATA").write_text(METADATA, encoding="utf-8")
        (folder / "direct_url.json").unlink(missing_ok=True)
        if direct_url is not None:
            (folder / "direct_url.json").write_text(json.dumps(direct_url), encoding="utf-8")
        return {"PYTHONPATH": os.pathsep.join([str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}

    return install


def command(extra, *, cwd, environment):
    """What a user is told to type for an extra."""
    done = subprocess.run(
        [sys.executable, "-c", f"from kt.base.extras import install; print(install({extra!r}))"],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["kt", "my clone", "it's mine", "a[b]"])
def test_an_extra_is_installed_from_the_clone_that_kt_came_from(name, installed, tmp_path):
    clone = tmp_path / name
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    environment = installed({"url": clone.as_uri(), "dir_info": {}})
    assert command("maths", cwd=clone, environment=environment) == "pip install '.[maths]'"
    below = command("maths", cwd=tmp_path, environment=environment)
    assert shlex.split(below) == ["pip", "install", f"./{name}[maths]"]
    elsewhere = command("maths", cwd="/", environment=environment)
    assert shlex.split(elsewhere)[-1] == f"{clone}[maths]" or shlex.split(elsewhere)[-1] == f".{clone}[maths]"
    editable = installed({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert command("maths", cwd=clone, environment=editable) == "pip install -e '.[maths]'"


def test_an_extra_of_a_repository_or_an_index_is_installed_from_there(installed, tmp_path):
    url = {
        "url": "https://example.org/kt.git",
        "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "a"},
    }
    found = command("maths", cwd=tmp_path, environment=installed(url))
    assert found == "pip install 'kt-transfer[maths] @ git+https://example.org/kt.git@v1'"
    assert command("maths", cwd=tmp_path, environment=installed()) == "pip install 'kt-transfer[maths]'"
    assert command("", cwd=tmp_path, environment=installed()) == "pip install kt-transfer"


def test_where_the_clone_is_gone_the_packages_themselves_are_named(installed, tmp_path):
    environment = installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    found = command("magic", cwd=tmp_path, environment=environment)
    assert shlex.split(found)[:2] == ["pip", "install"]
    assert sorted(shlex.split(found)[2:]) == ["nowhere-at-all<4,>=3", "numpy"]


@pytest.mark.slow
def test_the_doctor_tells_every_extra_that_the_package_declares(installed, tmp_path):
    environment = installed()
    done = run_kt("doctor", "--json", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["extras"] == {
        "elsewhere": "installed",
        "magic": "lacks nowhere-at-all",
        "maths": "installed",
        "newer": "lacks numpy",
    }
    assert told["missing"]["extra magic"] == "pip install 'kt-transfer[magic]'"
    assert "extra maths" not in told["missing"]


def test_every_hint_names_a_command_that_exists():
    """No message of kt has an install command of its own, which could not follow where kt came from."""
    from conftest import REPOSITORY

    for file in (REPOSITORY / "kt").rglob("*.py"):
        if file.name != "extras.py":
            assert "pip install 'kt" not in file.read_text(encoding="utf-8"), file


def test_a_checkout_that_was_never_installed_knows_its_extras(tmp_path):
    script = textwrap.dedent("""
        import importlib.metadata as metadata, sys
        found = metadata.distribution
        def distribution(name):
            if name == "kt-transfer":
                raise metadata.PackageNotFoundError(name)
            return found(name)
        metadata.distribution = distribution
        from kt.base.extras import extras, install
        print("jax" in extras(), install("jax"))
    """)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True pip install '") and done.stdout.endswith("[jax]'\n")
