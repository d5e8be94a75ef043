"""What a Dockerfile that nobody vouches for can do to the machine that builds it, with a real builder: nothing."""

from __future__ import annotations

from pathlib import Path

import pygit2
import pytest

from tests.parts import builder
from tests.parts.git import WorkTree
from windlass.errors import PermanentError
from workers.build import tools
from workers.build.image import Built, Wish, build

pytestmark = pytest.mark.integration


async def built(work: WorkTree, folder: Path) -> tuple[Built, list[str]]:
    """Build it as nobody's, here; with what the builder said."""
    said: list[str] = []
    wish = Wish("registry.example/shop/web", publish=False, trusted=False)
    variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), **builder.environment(folder)}
    store = pygit2.Repository(str(work.path))
    return await build(store, wish, tools.find("buildah"), tell=said.append, environment=variables), said


@pytest.fixture
def work(tmp_path: Path) -> WorkTree:
    return WorkTree(tmp_path / "work", "https://git.example/shop/web.git")


async def test_no_preprocessor_reads_what_was_read_as_comments(work: WorkTree, tmp_path: Path) -> None:
    """buildah runs cpp over a file whose name ends in .in: `#include` would be obeyed, and `#define COPY RUN`."""
    secret = tmp_path / "secret"
    secret.write_text("LABEL stolen=by-the-preprocessor\n")
    (work.path / "evil.in").write_text(f'FROM scratch\nCOPY hello /hello\n#include "{secret}"\n')
    (work.path / "Dockerfile").symlink_to("evil.in")
    work.commit({"hello": "hello\n"})
    _, said = await built(work, tmp_path / "builder")
    assert any("COPY hello" in line for line in said)
    assert not any("stolen" in line for line in said)


@pytest.mark.parametrize("flag", ['--"from=127.0.0.1:1/evil/image"', "--\\from=127.0.0.1:1/evil/image"])
async def test_a_flag_in_quotes_brings_no_other_image(work: WorkTree, tmp_path: Path, flag: str) -> None:
    work.commit({"Dockerfile": f"FROM scratch\nCOPY {flag} /a /b\n"})
    with pytest.raises(PermanentError, match="line 2 says --"):
        await built(work, tmp_path / "builder")
