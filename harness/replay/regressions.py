"""Regressions: plans that are kept beside the experiments, each a test of its own.

`experiments/regressions/lost-adds.json` is collected as a test that carries out that plan and
judges it as its experiment does.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.errors import UsageError
from harness.plan import read_plan
from harness.project import file_of
from harness.replay.recorded import Recording

FOLDER = "regressions"

RECORDING = pytest.StashKey[Recording]()
"""What a worker is to carry out with an item."""


def holds_plan(path: Path) -> bool:
    """Whether a file that pytest meets is a plan that is kept. One that was emptied is: it must
    not be missed in silence. Others may keep other things in a folder of that name."""
    if path.suffix != ".json" or path.parent.name != FOLDER:
        return False
    head = _head(path)
    return b'"experiment"' in head or not head.strip()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


class Regression(pytest.Module):
    """A plan in a file, as a module that holds the one experiment that the plan is of."""

    def _getobj(self) -> ModuleType:
        self.recording = Recording(self.path, read_plan(self.path))
        name = file_of(self.recording.plan.experiment)
        beside = self.path.parent.parent / Path(name).name
        for file in (beside, self.config.rootpath / name):
            if file.is_file():
                module = pytest.Module.from_parent(self.parent, path=file)
                return module.obj  # type: ignore[no-any-return]
        raise UsageError(
            f"{self.path} is a plan of {self.recording.plan.experiment}, but there is no {beside}.",
            do="Keep the plan in a folder `regressions` beside the file of its experiment.",
        )

    def collect(self) -> list[Any]:
        """Only the plan's experiment. Raises `UsageError` if the file has none of that name."""
        found = [one for one in super().collect() if self._concerned(one)]
        if not found:
            raise UsageError(
                f"{self.path} is a plan of {self.recording.plan.experiment}, which is no test any "
                "more.",
                do="Correct `experiment` in the plan, or delete it.",
            )
        return found

    def _concerned(self, node: Any) -> bool:
        """Whether the experiment is this node or below it."""
        return bool(node.name == self._path[0])

    def names(self, item: pytest.Item) -> bool:
        """Whether `item` is the plan's experiment."""
        nodes = item.listchain()
        return [node.name for node in nodes[nodes.index(self) + 1 :]] == self._path

    @property
    def _path(self) -> list[str]:
        """The names that lead to the experiment in its file."""
        return self.recording.plan.experiment.split("::")[1:]


def regression_of(item: pytest.Item) -> Regression | None:
    """The regression that an item is of, if any."""
    return item.getparent(Regression)
