"""The project's targets: found by importing its modules, of which some may be scripts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.catalogue import known_targets, target_named
from harness.errors import UsageError

Project = Callable[..., None]

SHOP = """
from harness import Target


class Shop(Target):
    name = "shop"
    ports = {"http": 8080}


class Nameless(Target):
    ports = {"http": 8080}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Writes modules by name into an empty project, which is the current directory."""
    imported = set(sys.modules)
    own = {name: one for name, one in sys.modules.items() if name.split(".")[0] == "targets"}
    for name in own:
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not _holds_targets(path)])
    monkeypatch.chdir(tmp_path)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in {name for name in set(sys.modules) - imported if _is_of(name, tmp_path)}:
        del sys.modules[name]
    sys.modules.update(own)


def _holds_targets(path: str) -> bool:
    return (Path(path) / "targets").is_dir()


def _is_of(name: str, folder: Path) -> bool:
    return str(folder) in str(getattr(sys.modules[name], "__file__", None) or "")


BROKEN = {
    "exit": ("raise SystemExit(2)", "SystemExit: 2"),
    "os": ("raise OSError(98, 'Address already in use')", "Address already in use"),
    "import": ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    "syntax": ("def :", "invalid syntax"),
    "bug": ("1 / 0", "ZeroDivisionError: division by zero"),
}


def test_no_package_of_targets_is_no_targets(project: Project) -> None:
    assert known_targets() == {}
    with pytest.raises(UsageError, match="There is no target 'shop'"):
        target_named("shop")
    with pytest.raises(UsageError, match="There is no target targets:Shop"):
        target_named("targets:Shop")


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN)
def test_a_module_that_fails_is_named_with_its_error(
    project: Project, text: str, said: str
) -> None:
    project(targets__in__server=text, targets__in__shop=SHOP)
    with pytest.raises(UsageError) as raised:
        known_targets()
    assert "targets.server cannot be imported." in str(raised.value)
    assert said in str(raised.value)
    # It is nothing to those that look for another one.
    assert target_named("shop").__name__ == "Shop"
    with pytest.raises(UsageError) as raised:
        target_named("server")
    assert "There is no target 'server'" in str(raised.value)
    assert said in str(raised.value) and "Known here: shop" in str(raised.value)


def test_the_line_of_the_project_is_named_not_that_of_a_library(project: Project) -> None:
    project(targets__in__server="import json\n\njson.loads('{')")
    with pytest.raises(UsageError, match=r"JSONDecodeError: .*targets/server\.py:3\)"):
        known_targets()


def test_a_package_of_targets_that_fails_is_told(project: Project) -> None:
    project(targets__in____init__="import nowhere_to_be_found")
    with pytest.raises(UsageError, match="targets cannot be imported"):
        known_targets()


def test_a_class_is_found_by_module_without_the_catalogue(project: Project) -> None:
    project(
        targets__in__server="raise SystemExit(2)",
        targets__in__loud="import sys; sys.loud = True",
        shop=SHOP,
    )
    assert target_named("shop:Shop").name == "shop"
    assert not hasattr(sys, "loud"), "the modules of the catalogue are not imported"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Shop", "No module named 'nowhere'"),
        ("mine:Shp", "mine has no such class"),
        ("mine:Path", "no Target"),
        ("script:Shop", "SystemExit: 3"),
    ],
)
def test_a_class_that_is_not_there_is_told_with_the_targets_that_are(
    project: Project, name: str, said: str
) -> None:
    project(
        targets__in__shop=SHOP,
        mine="from pathlib import Path",
        script="raise SystemExit(3)",
    )
    with pytest.raises(UsageError) as raised:
        target_named(name)
    assert f"There is no target {name}." in str(raised.value)
    assert said in str(raised.value) and "Known here: shop" in str(raised.value)
