"""Recipes and studies by name. Only the module that a name stands in is imported: one system, not all of them.

A module of ``phonofilm.recipes`` lists its recipes in ``RECIPES``, one of ``phonofilm.compare.studies`` its studies in
``STUDIES``. A name begins with its module's: ``jova_pocket`` stands in ``recipes/jova.py``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from phonofilm.errors import UserError, unknown
from phonofilm.recipes.experiment import Experiment
from phonofilm.types import Span

PACKAGES = {"recipe": ("phonofilm.recipes", "RECIPES"), "study": ("phonofilm.compare.studies", "STUDIES")}
"""Where names of each kind stand, and the tuple that lists them."""


def find_recipe(name: str, *, foreign: bool = True) -> Experiment:
    """The experiment of a recipe: a name inside phonofilm, or ``package.module:function`` where ``foreign``.

    ``study/arm`` names an arm of a study. Raises ``UserError`` with the nearest name for an unknown one.
    """
    if ":" in name and not foreign:
        raise UserError(f"recipe {name!r} is not part of phonofilm: name it with --recipe if you trust its code")
    study, slash, arm = name.partition("/")
    if slash:
        arms = find_function("study", study)().arms
        if arm not in arms:
            raise unknown(f"arm of {study}", arm, arms)
        return arms[arm]()
    found = find_function("recipe", name)()
    if not isinstance(found, Experiment):
        raise UserError(f"recipe {name!r} returns {type(found).__name__}; name one that returns an Experiment")
    return found


def find_function(kind: str, name: str) -> Callable[[], Any]:
    """The function behind the name of a "recipe" or "study", or behind ``package.module:function``.

    Raises ``UserError`` with the nearest name for an unknown one.
    """
    module, function = find_module(kind, name), name.rpartition(":")[2]
    if not hasattr(module, function):
        raise UserError(f"{kind} {name!r}: {module.__name__} has no function {function!r}; name one that it has")
    found = getattr(module, function)
    if not callable(found):
        raise UserError(f"{kind} {name!r}: {function!r} is no function; name one that returns a {kind}")
    return found


def find_module(kind: str, name: str) -> ModuleType:
    """The module that a recipe, study, arm of a study or ``package.module:function`` stands in; same errors."""
    if ":" in name:
        try:
            return importlib.import_module(name.partition(":")[0])
        except ModuleNotFoundError as error:
            raise UserError(f"{kind} {name!r}: there is no module {error.name!r}") from error
        except (ValueError, TypeError) as error:  # no name at all, or one within a package that is not named
            raise UserError(f"{kind} {name!r}: package.module:function is wanted ({error})") from error
    if "/" in name:
        return find_module("study", name.partition("/")[0])
    package, title = PACKAGES[kind]
    for module in _modules(package):
        if name == module or name.startswith(f"{module}_"):
            loaded = importlib.import_module(f"{package}.{module}")
            if name in getattr(loaded, title, ()):
                return loaded
    raise unknown(kind, name, names_of(kind))


def names_of(kind: str) -> list[str]:
    """All names of a kind ("recipe" or "study") inside phonofilm, in alphabetical order; imports every module."""
    package, title = PACKAGES[kind]
    modules = [importlib.import_module(f"{package}.{module}") for module in _modules(package)]
    return sorted(name for module in modules for name in getattr(module, title, ()))


def _modules(package: str) -> list[str]:
    return [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__)]


def recipe_names() -> list[str]:
    """Names of the recipes inside phonofilm."""
    return names_of("recipe")


def recipes_with_voices() -> list[str]:
    """Names of the recipes inside phonofilm that read a reference voice for each speaker of a prompt."""
    return [name for name in recipe_names() if _tells_voices_apart(find_recipe(name))]


def _tells_voices_apart(experiment: Experiment) -> bool:
    """Whether a task reads voices by name; reference tokens hold one that is nobody's in particular."""
    tasks = [kind.at(Span(0.0, 0.0)) for kind, _ in experiment.tasks]
    return any("voice" in task.needs and task.reference is None for task in tasks)
