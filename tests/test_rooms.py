"""The packages of kt: described where people look, and no two classes with one name."""

import ast
import importlib
import re
from collections import defaultdict

from conftest import REPOSITORY

KT = REPOSITORY / "kt"


def test_the_architecture_page_describes_each_package():
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in KT.glob("*/__init__.py")]
    assert len(packages) > 20
    assert [name for name in packages if f"`kt/{name}/`" not in page] == []


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for module in KT.rglob("*.py"):
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(module.relative_to(KT)))
    assert len(places) > 200
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_every_name_that_quoted_code_imports_exists():
    """Tests and benchmarks run code that stands in strings, which no linter reads."""
    sentence = re.compile(r"^[ \t]*from (kt(?:\.\w+)*) import ([\w, ]+?)(?: *#.*)?$", re.MULTILINE)
    files = [
        path for folder in ("tests", "benchmarks", "recipes", "docs") for path in (REPOSITORY / folder).rglob("*.*")
    ]
    names = set()
    for path in [*files, REPOSITORY / "README.md"]:
        if path.suffix in (".py", ".md"):
            for module, imported in sentence.findall(path.read_text(encoding="utf-8")):
                names |= {(module, name.split(" as ")[0].strip()) for name in imported.split(",") if name.strip()}
    assert len(names) > 300
    assert sorted(f"{module}.{name}" for module, name in names if not known(module, name)) == []


def known(module: str, name: str) -> bool:
    """Whether `from module import name` works."""
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ImportError:
        return False
