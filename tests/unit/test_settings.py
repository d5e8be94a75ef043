"""Settings from the environment: documented in one table, refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
        ("WINDLASS_PORT", "80.5"),
        ("WINDLASS_LOG_FORMAT", "xml"),
        ("WINDLASS_POLL", "0"),
        ("WINDLASS_WATCH", "maybe"),
        ("WINDLASS_URL", "javascript:alert(1)"),
        ("WINDLASS_URL", "https://windlass.example/\n"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://localhost:redis/0"),
        ("REDIS_URL", "redis://[::1/0"),
        ("REDIS_URL", "redis+sentinel://host:26379"),
        ("WINDLASS_DEFAULT_SERVICE_ACCOUNT", "a:b:c"),
        ("WINDLASS_RESOURCES", "Shop"),
        ("WINDLASS_RESOURCES", "shop,,blog"),
        ("WINDLASS_RESOURCES_NAMESPACE", "a/b"),
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


def test_no_password_is_in_an_error_or_a_representation() -> None:
    with pytest.raises(WindlassError) as caught:
        Settings.from_env({"REDIS_URL": "http://:canary@redis"})
    assert "canary" not in str(caught.value)
    settings = Settings.from_env({"REDIS_URL": "redis://:canary@redis:6379/0", "WINDLASS_KEY": "canary" * 8})
    assert settings.redis_url == "redis://:canary@redis:6379/0"
    assert "canary" not in repr(settings)


def test_data_is_below_the_home_or_where_services_have_it() -> None:
    assert Settings.from_env({"HOME": "/home/a"}).data == Path("/home/a/.local/share/windlass")
    assert Settings.from_env({"HOME": "/"}).data == Path("/var/lib/windlass")
    assert Settings.from_env({}).data == Path("/var/lib/windlass")
    assert Settings.from_env({"WINDLASS_DOCUMENTS": "~/d", "HOME": "/home/a"}).documents == Path("/home/a/d")
    with pytest.raises(WindlassError, match="WINDLASS_DOCUMENTS=~/d: there is no HOME"):
        Settings.from_env({"WINDLASS_DOCUMENTS": "~/d"})


def test_processes_that_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    settings = Settings.from_env({"WINDLASS_DATA": str(tmp_path / "data")})
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: settings.secret_key(), range(64)))
    assert len(keys) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["key"]


def test_a_key_file_is_read_and_never_made(tmp_path: Path) -> None:
    settings = Settings.from_env({"WINDLASS_KEY_FILE": str(tmp_path / "k")})
    with pytest.raises(WindlassError, match="can't be read"):
        settings.secret_key()
    (tmp_path / "k").write_text("x" * 40 + "\n")
    assert settings.secret_key() == b"x" * 40


@pytest.mark.parametrize(
    ("said", "namespaces"),
    [("off", ()), ("cluster", ("",)), ("shop", ("shop",)), ("shop, blog,shop", ("shop", "blog"))],
)
def test_where_custom_resources_are_followed(said: str, namespaces: tuple[str, ...]) -> None:
    assert Settings.from_env({"WINDLASS_RESOURCES": said}).resources == namespaces


def test_a_key_that_a_process_made_for_itself_signs_nothing_for_others(tmp_path: Path) -> None:
    with pytest.raises(WindlassError, match="set WINDLASS_KEY or WINDLASS_KEY_FILE"):
        Settings.from_env({"WINDLASS_DATA": str(tmp_path)}).shared_key()
    assert Settings.from_env({"WINDLASS_KEY": "k" * 32}).shared_key() == b"k" * 32
    (tmp_path / "keys").write_text("s" * 40)
    assert Settings.from_env({"WINDLASS_KEEP_KEY_FILE": str(tmp_path / "keys")}).shared_key() == b"s" * 40
