"""Settings from the environment: documented in one table, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.errors import WindlassError
from windlass.settings import TABLE, Settings


def test_the_readme_shows_every_setting_with_its_default() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for variable in TABLE:
        default = f"`{variable.default}`" if variable.default else ""
        assert f"| `{variable.name}` | {default} | {variable.meaning} |" in readme


def test_an_empty_environment_is_enough() -> None:
    settings = Settings.from_env({})
    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8480, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WINDLASS_PORT", "http"),
        ("WINDLASS_PORT", "70000"),
        ("WINDLASS_CONCURRENCY", "0"),
        ("WINDLASS_LOG", "loud"),
        ("WINDLASS_LEASE_SECONDS", "nan"),
        ("WINDLASS_QUEUE", "a b"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(WindlassError, match=name):
        Settings.from_env({name: value})


def test_a_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    settings = Settings.from_env({"WINDLASS_DATA": str(tmp_path / "data")})
    assert settings.secret_key() == settings.secret_key()
    assert (tmp_path / "data" / "key").stat().st_mode & 0o777 == 0o600


def test_a_short_key_is_refused() -> None:
    with pytest.raises(WindlassError, match="32"):
        Settings.from_env({"WINDLASS_KEY": "short"}).secret_key()
