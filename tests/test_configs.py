"""Settings that would be read otherwise than they were meant are refused by their line."""

import json
from pathlib import Path

import pytest
from hubspoke.configs import read_config_file, read_text
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError

DEEP = "[" * 5000 + "]" * 5000
REFUSED = [
    (b"a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands there twice"),
    (b'{"a": 1,\n "a": 2}', "line 2: the key 'a' stands there twice"),
    (b"x:\n  a: 1\n  a: 2\n", "line 3: the key 'a' stands there twice"),
    (b"a: 1\nlr: .nan\n", "line 2: .nan is no finite number"),
    (b"lr: -.inf\n", "line 1: -.inf is no finite number"),
    (b"lr: 1.0e+999\n", "line 1: 1.0e+999 is no finite number"),
    (b"a: " + b"9" * 5000, "Exceeds the limit"),
    (b"on: all\n", "line 1: the key True is no text, put it in quotes"),
    (b"5: a\n", "line 1: the key 5 is no text"),
    (b"a: &x [1]\nb: *x\n", "line 2: aliases are not read"),
    (b"a: !!python/object/apply:os.system [ls]\n", "line 1: could not determine a constructor"),
    (b"a: [1\n", "line 2: "),
    (b"\ta: 1\n", "line 1: found character '\\t'"),
    (b"a: \x00\n", "special characters are not allowed"),
    (b"a: 2024-13-45\n", "month must be in 1..12"),
    (DEEP.encode(), "nested too deeply"),
    ("a: ü\n".encode("utf-16"), "it is UTF-16); save it as UTF-8"),
    ("b: 1\na: ü\n".encode("latin-1"), "line 2 is not); save it as UTF-8"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=lambda value: ascii(value)[:40])
def test_what_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "spoke.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError) as told:
        read_config_file(path, "config file", "seed: 5")
    message = str(told.value)
    assert message.startswith(f"{path} is no valid YAML or JSON in UTF-8 (")
    assert said in message
    assert len(message.splitlines()) == 1


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spoke.yaml"
    whole = {"a": {"b": [1, 2.5, None, True, "ü"]}, "c": "x"}
    for content in (json.dumps(whole).encode(), json.dumps(whole, ensure_ascii=False).encode("utf-8-sig")):
        path.write_bytes(content)
        assert read_config_file(path, "config file", "seed: 5") == whole
    path.write_bytes(b"")
    assert read_config_file(path, "config file", "seed: 5") is None
    for missing in (tmp_path, tmp_path / "none.yaml", path / "inner.yaml"):
        with pytest.raises(NotFoundError, match="There is no config file"):
            read_config_file(missing, "config file", "seed: 5")
    with pytest.raises(UsageError, match=r"line 1: .* quote it"):
        read_text("[", "The value cannot be read", "quote it", UsageError)
