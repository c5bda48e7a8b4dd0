"""Which source files a stage would import, and a hash of what each of them does.

The import closure is followed statically (the syntax tree's ``import`` statements), so ``plan`` needs no torch. A file's hash is of
its syntax tree without docstrings: a comment, a blank line or a docstring re-runs nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Modules that watch a run, or start stages in another way, and cannot change what a stage writes: editing them re-runs nothing.
OBSERVERS = frozenset(
    {
        "latent_atlas.console",
        "latent_atlas.training.progress",
        "latent_atlas.training.pyfunc",
        "latent_atlas.training.sweep",
        "latent_atlas.training.tracking",
    }
)


class Closures:
    """What would be imported, in one checkout at one moment: each name is looked up once, each file parsed once.

    Args:
        root: of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lookup = functools.cache(lambda name: _files(root, name))
        self._read = functools.cache(_read)
        self._behind = functools.cache(self._reach)

    def of(self, modules: Iterable[str], scripts: Iterable[str] = ()) -> dict[str, str]:
        """Path below the root -> hash, for every file that importing these modules (and running these scripts) would read."""
        starts = [path for name in modules for path in self._lookup(name)] + [self.root / script for script in scripts]
        found = set().union(*map(self._behind, starts))
        return {path.relative_to(self.root).as_posix(): self._read(path)[0] for path in sorted(found)}

    def _reach(self, start: Path) -> frozenset[Path]:
        known: set[str] = set()  # hundreds of imports name the same few modules
        found: set[Path] = set()
        waiting = [start]
        while waiting:
            path = waiting.pop()
            if path in found:
                continue
            found.add(path)
            for name in self._read(path)[1]:
                if name not in known:
                    known.add(name)
                    waiting += self._lookup(name)
        return frozenset(found)


def targets(config: Any) -> Iterator[str]:
    """Every ``_target_`` of a configuration."""
    if isinstance(config, dict):
        if isinstance(config.get("_target_"), str):
            yield config["_target_"]
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


def _files(root: Path, name: str) -> list[Path]:
    """The files that ``import name`` reads below src/: the module, or the one that holds the attribute, and its packages."""
    parts = name.split(".")
    files = []
    for end in range(1, len(parts) + 1):
        if ".".join(parts[:end]) in OBSERVERS:
            break
        base = root.joinpath("src", *parts[:end])
        if (base / "__init__.py").is_file():
            files.append(base / "__init__.py")
        elif base.with_suffix(".py").is_file():
            files.append(base.with_suffix(".py"))
            break
        else:
            break
    return files


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    # A package's lazy attributes (imports inside functions) belong to whoever asks for them, not to every member.
    imports = tuple(_imports(tree, path, functions=path.name != "__init__.py"))
    _strip(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], imports


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What lies below a node and can hold statements: imports and docstrings are nowhere else, and expressions are many."""
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        yield from getattr(node, name, ())


def _strip(node: ast.AST) -> None:
    """Takes the docstrings away, in place."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
        ast.get_docstring(node, clean=False) is not None
    ):
        node.body = node.body[1:]
    for inner in _statements(node):
        _strip(inner)


def _imports(tree: ast.AST, path: Path, functions: bool) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imports(ast.Module([other], []), path, functions)
        elif functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _imports(node, path, functions)


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    packages = path.parts[path.parts.index("src") + 1 : -1] if "src" in path.parts else ()
    return ".".join([*packages[: len(packages) - node.level + 1], *((node.module or "").split(".") if node.module else [])])
