"""Which targets there are: the classes in the project's `targets` package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

from harness.errors import UsageError
from harness.target import Target


def known_targets() -> dict[str, type[Target]]:
    """The targets of the package `targets` in the current directory, by name; {} without one.

    Raises `UsageError` naming the first that cannot be imported.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        package = importlib.import_module("targets")
    except ModuleNotFoundError:
        return {}
    found: dict[str, type[Target]] = {}
    for info in pkgutil.iter_modules(package.__path__, "targets."):
        try:
            module = importlib.import_module(info.name)
        except ImportError as error:
            raise UsageError(
                f"{info.name} cannot be imported.",
                why=str(error),
                do="Install what it needs (in this repository: pip install -e '.[targets]').",
            ) from None
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Target) and kind.name:
                found[kind.name] = kind
    return dict(sorted(found.items()))


def target_named(name: str) -> type[Target]:
    """The target called `name`, or the class that `package.module:Class` names.

    Raises `UsageError` naming what there is.
    """
    known = known_targets()
    if name in known:
        return known[name]
    module, _, attribute = name.partition(":")
    if attribute:
        try:
            kind = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"There is no target {name}.", why=str(error)) from None
        if inspect.isclass(kind) and issubclass(kind, Target):
            return kind
    raise UsageError(
        f"There is no target {name!r}.",
        do=f"Known here: {', '.join(known) or 'none'}; or write package.module:Class.",
    )
