"""Settings: which source wins, what a slip of the pen costs, where relative paths lead."""

import re
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.settings import Settings, current_folder, load_settings
from hypothesis import given
from hypothesis import strategies as st


def test_defaults_lie_inside_the_workspace(tmp_path: Path) -> None:
    settings = load_settings({}, {}, tmp_path)
    assert settings.workspace == tmp_path / ".hubspoke"
    assert (settings.registry_url, settings.registry_file) == (None, tmp_path / ".hubspoke" / "registry.db")
    assert settings.artifacts_dir == tmp_path / ".hubspoke" / "artifacts"
    assert settings.cache_dir == tmp_path / ".hubspoke" / "cache"
    assert (settings.threads, settings.device, settings.seed) == (None, "auto", 0)


def test_nobodys_home_folder_is_told() -> None:
    with pytest.raises(UsageError, match="nobody's home folder; write the path out"):
        load_settings({"workspace": "~nobody-of-this-name/shop"}, {}, Path("/"))


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "hubspoke.yaml").write_text("seed: 1\ndevice: cpu\nthreads: 3\n")
    environ = {"HUBSPOKE_SEED": "2", "HUBSPOKE_DEVICE": "cuda", "HUBSPOKE_WORKSPACE": "shop"}
    settings = load_settings({"seed": 4, "device": None, "artifacts": "store"}, environ, tmp_path)
    assert (settings.seed, settings.device, settings.threads) == (4, "cuda", 3)
    # Relative paths are relative to the current folder.
    assert (settings.workspace, settings.artifacts_dir) == (tmp_path / "shop", tmp_path / "store")


def test_artifacts_may_lie_at_a_url(tmp_path: Path) -> None:
    for url in ("s3://bucket/shop", "gs://bucket", "memory://shop", "sftp://me@host/shop"):
        settings = load_settings({}, {"HUBSPOKE_ARTIFACTS": f"{url}/"}, tmp_path)
        assert settings.artifacts_location == settings.artifacts == url
        assert settings.artifacts_dir == tmp_path / ".hubspoke" / "cache" / "artifacts"
    # A URL of a folder is the folder.
    settings = load_settings({"artifacts": "file:///big%20disk/store", "cache": "file:///cache"}, {}, tmp_path)
    assert settings.artifacts_location == settings.artifacts_dir == Path("/big disk/store")
    assert settings.cache_dir == Path("/cache")
    named = load_settings({"artifacts": "file:///a%23b%3Fc%2541;d\ne"}, {}, tmp_path)
    assert named.artifacts_location == Path("/a#b?c%41;d\ne")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("artifacts", "s3://", "write a URL like s3://bucket/prefix"),
        ("artifacts", "://bucket", "write a URL like s3://bucket/prefix"),
        ("artifacts", "s3://bucket/x?versionId=1", "write a URL like s3://bucket/prefix"),
        ("artifacts", "file://host/x", "give it a folder of this machine"),
        ("artifacts", "file://", "give it a folder of this machine"),
        ("artifacts", "file:///store#2", "write %3F for ? and %23 for # in it"),
        ("workspace", "file:///store?2", "write %3F for ? and %23 for # in it"),
        ("artifacts", "file:///store%00", "with a character that no database stores"),
        ("artifacts", "file:///store%ff", "with a character that no database stores"),
        ("artifacts", "sftp://me:secret@host/x", "has a password in 'sftp://me@host/x'; leave it to the driver"),
        ("workspace", "s3://bucket", "give it a folder of this machine"),
        ("cache", "memory://x", "give it a folder of this machine"),
    ],
)
def test_a_url_that_cannot_be_meant_is_a_usage_error(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        load_settings({name: value}, {}, tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sead: 3", "did you mean seed"),
        ("colour: red", "use one of workspace"),
        ("seed: many", "whole number of at least 0"),
        ("seed: true", "whole number"),
        ("threads: 0", "whole number of at least 1"),
        ("device: 7", "give it a text"),
        ("- a\n- b", "holds a list"),
        ("a: [", "no valid YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hubspoke.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_settings({}, {}, tmp_path)


def test_a_misspelt_variable_is_refused_and_a_foreign_one_let_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean registry_url"):
        load_settings({}, {"HUBSPOKE_REGISTY_URL": "sqlite:///x.db"}, tmp_path)
    (tmp_path / "hubspoke.yaml").write_text("# nothing yet\n")
    assert load_settings({}, {"HUBSPOKE_UNRELATED_THING": "x", "HUBSPOKE_SEED": ""}, tmp_path).seed == 0
    with pytest.raises(UsageError, match="'sed' in the call"):
        load_settings({"sed": 1}, {}, tmp_path)


@given(flag=st.none() | st.integers(0, 99), variable=st.none() | st.integers(0, 99))
def test_the_nearest_source_that_says_something_wins(flag: int | None, variable: int | None) -> None:
    environ = {} if variable is None else {"HUBSPOKE_SEED": str(variable)}
    expected = next((value for value in (flag, variable) if value is not None), Settings().seed)
    assert load_settings({"seed": flag}, environ, Path("/nowhere")).seed == expected


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"workspace": "~nobody-here/x"}, "home folder; write the path out."),
        ({"workspace": "a\0b"}, r"workspace in the call is 'a\x00b', with a character that no database stores"),
        ({"device": "\udcff"}, r"device in the call is '\udcff', with a character that no database stores"),
        ({"workspace": "letter.txt"}, "letter.txt, which is a file; give it a folder."),
        ({"workspace": ""}, "workspace in the call is ''"),
        ({"workspace": 5}, "workspace in the call is 5"),
    ],
)
def test_a_place_that_can_be_none(tmp_path: Path, flags: dict[str, Any], said: str) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(UsageError) as told:
        load_settings(flags, {}, tmp_path)
    assert said in str(told.value)


def test_a_current_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(NotFoundError, match="current folder was removed"):
        current_folder()
