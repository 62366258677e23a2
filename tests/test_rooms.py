"""The packages of kt: described where people look, and no two classes with one name."""

import ast
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
