"""Which targets there are: the classes in the project's `targets` package.

Looking means importing every module of that package, and so carrying out whatever it does on
import. A module that is no target may fail there; that is told, but is nothing to those that look
for another target.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import UsageError
from harness.target import Target


def known_targets() -> dict[str, type[Target]]:
    """The targets of the package `targets` in the current directory, by name; {} without one.

    Raises `UsageError` naming the first module that cannot be imported.
    """
    found, broken = _catalogue()
    if broken:
        raise broken[0]
    return found


def target_named(name: str) -> type[Target]:
    """The target called `name`, or the class that `package.module:Class` names.

    Modules of the catalogue that cannot be imported do not matter if it is found elsewhere. Raises
    `UsageError` naming what there is.
    """
    module, _, attribute = name.partition(":")
    if attribute:
        return _class_named(module, attribute)
    found, broken = _catalogue()
    if name in found:
        return found[name]
    raise UsageError(f"There is no target {name!r}.", why=_reasons(broken), do=_known(found))


def thing_named(name: str) -> Any:
    """Whatever `package.module:Name` names, as seen from the current directory. Raises `UsageError`
    if there is no such thing."""
    module, _, attribute = name.partition(":")
    _look_here()
    found = getattr(_imported(module), attribute, None)
    if found is None:
        raise UsageError(f"There is no {name}.", why=f"{module} has no such name.")
    return found


def _class_named(module: str, attribute: str) -> type[Target]:
    name = f"{module}:{attribute}"
    _look_here()
    try:
        kind = getattr(_imported(module), attribute, None)
    except UsageError as error:
        found, _broken = _catalogue()
        raise UsageError(
            f"There is no target {name}.", why=f"{error.what} {error.why}", do=_known(found)
        ) from None
    if inspect.isclass(kind) and issubclass(kind, Target):
        return kind
    found, _broken = _catalogue()
    said = "has no such class" if kind is None else "holds something there that is no Target"
    raise UsageError(f"There is no target {name}.", why=f"{module} {said}.", do=_known(found))


def _catalogue() -> tuple[dict[str, type[Target]], list[UsageError]]:
    """The targets by name, and what there is to say of the modules that cannot be imported."""
    _look_here()
    if importlib.util.find_spec("targets") is None:
        return {}, []
    try:
        package = _imported("targets")
    except UsageError as error:
        return {}, [error]
    found: dict[str, type[Target]] = {}
    broken = []
    for info in pkgutil.iter_modules(getattr(package, "__path__", ()), "targets."):
        try:
            module = _imported(info.name)
        except UsageError as error:
            broken.append(error)
            continue
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Target) and kind.name:
                found[kind.name] = kind
    return dict(sorted(found.items())), broken


def _imported(name: str) -> ModuleType:
    """The module of that name. Raises `UsageError` for whatever importing it raises."""
    try:
        return importlib.import_module(name)
    # A script that parses its arguments ends the interpreter, one that serves finds its port taken.
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ImportError)
        place = "" if missing else _place(error)
        raise UsageError(
            f"{name} cannot be imported.",
            why=f"{type(error).__name__}: {error}{place}",
            do="Install what it needs (in this repository: pip install -e '.[targets]')."
            if missing
            else "Modules in targets/ are imported to find the targets: put what a script does "
            'under `if __name__ == "__main__":`, or the script into a folder of its own.',
        ) from None


def _place(error: BaseException) -> str:
    """The last line of the project's own that led to `error`: a script ends deep in a library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path.cwd())]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def _look_here() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _known(found: dict[str, type[Target]]) -> str:
    return f"Known here: {', '.join(found) or 'none'}; or write package.module:Class."


def _reasons(broken: list[UsageError]) -> str | None:
    return "\n".join(f"{one.what} {one.why}" for one in broken) or None
