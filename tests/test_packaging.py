"""Packaging: the wheel holds exactly the package, and nothing of it can be imported under another name."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NO_PACKAGES = {"tests", "benchmarks", "docs", "scripts", "build", "dist"}
BUILD = """
import os, sys
from setuptools import build_meta
os.chdir(sys.argv[1])
print(build_meta.build_wheel(sys.argv[2]))
"""


def package_folders() -> set[str]:
    """Folders with Python files, as package names."""
    found = {"hubspoke"}
    for file in ROOT.rglob("*.py"):
        parts = file.parent.relative_to(ROOT).parts
        if parts and parts[0] not in NO_PACKAGES and not any(p.startswith(".") or p == "hubspoke" for p in parts):
            found.add(".".join(("hubspoke", *parts)))
    return found


def test_the_packages_are_the_folders_on_disk() -> None:
    packages = PROJECT["tool"]["setuptools"]["packages"]
    assert packages == sorted(packages)
    assert set(packages) == package_folders()
    assert all((ROOT.joinpath(*name.split(".")[1:]) / "__init__.py").is_file() for name in packages)


def test_only_these_modules_lie_at_the_top() -> None:
    # Every .py file here ships in the wheel.
    names = {"__init__", "arrays", "cli", "configs", "door", "errors", "files", "forks", "progress", "results"}
    names |= {"settings", "version"}
    assert {path.stem for path in ROOT.glob("*.py")} == names


def copy_of_the_sources(folder: Path) -> Path:
    """What a build reads, apart from the checkout, so that the build leaves nothing in it."""
    names = [ROOT / "pyproject.toml", *(ROOT / name for name in ("README.md", "LICENSE", "py.typed"))]
    names += [path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).parts[0].startswith((".", "build"))]
    names += [*(ROOT / "migrations").glob("*.mako"), *(ROOT / "reports" / "templates").iterdir()]
    names += [path for folder in ("templates", "static") for path in (ROOT / "console" / folder).rglob("*")]
    for path in filter(Path.is_file, names):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for name in ("README.md", "LICENSE"):
        if not (folder / name).exists():
            (folder / name).write_text("\n")
    return folder


def test_an_installed_wheel_offers_hubspoke_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="a wheel is built with setuptools 77 or newer")
    sources, wheels, site = copy_of_the_sources(tmp_path / "sources"), tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    build = [sys.executable, "-c", BUILD, str(sources), str(wheels)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        archive.extractall(site)
        names = {name.split("/")[0] for name in archive.namelist()}
    assert names == {"hubspoke", f"hubspoke-{PROJECT['project']['version']}.dist-info"}
    shipped = {path.parent.relative_to(site).as_posix().replace("/", ".") for path in site.rglob("*.py")}
    assert shipped == set(PROJECT["tool"]["setuptools"]["packages"])
    templates = ("reports/templates/report.html", "reports/templates/style.css")
    templates += ("console/templates/parts/macros.html", "console/static/vendor/htmx.min.js")
    for data in ("py.typed", "migrations/script.py.mako", *templates):
        assert (site / "hubspoke" / data).is_file()
    for name in ("hub", "registry", "cli", "catalog", "spokes", "workflows", "errors", "tests"):
        assert not can_import(name, site, tmp_path)
    assert all(can_import(name, site, tmp_path) for name in ("hubspoke.registry.store", "hubspoke.cli"))


def can_import(name: str, site: Path, elsewhere: Path) -> bool:
    """Whether a fresh interpreter finds the module in the unpacked wheel."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.meta_path = [f for f in sys.meta_path"
        " if 'editable' not in getattr(f, '__name__', '').lower()]\n"
        f"import {name} as found\n"
        "assert found.__file__.startswith(sys.argv[1]), found.__file__"
    )
    command = [sys.executable, "-c", code, str(site)]
    return subprocess.run(command, capture_output=True, cwd=elsewhere, check=False).returncode == 0
