"""What a render can't do: take memory, time, output or processes beyond its limits, see this process, or reach the network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.integration.render.conftest import TARGET, Committer, programs, source
from windlass.secrets import Secrets
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer
from workers.render.sandbox import MIB, Limits, Sandbox
from workers.render.scratch import Scratch

pytestmark = pytest.mark.integration


@pytest.fixture
async def sandbox() -> Sandbox:
    made = Sandbox(Limits(seconds=60, memory=512 * MIB, output=4 * MIB))
    await made.open()
    return made


async def python(sandbox: Sandbox, folder: Path, program: str) -> tuple[int, str]:
    finished = await sandbox.run([sys.executable, "-I", "-c", program], folder=folder, home=folder)
    return finished.code, finished.out.decode() + finished.err


def bomb(template: str) -> dict[str, str]:
    return {"bomb/Chart.yaml": "apiVersion: v2\nname: bomb\nversion: 1.0.0\n", "bomb/templates/a.yaml": template}


@pytest.mark.parametrize(
    "template",
    [
        '{{ $x := repeat 2000000000 "x" }}{{ len $x }}',
        "{{ range until 2000000000 }}a{{ end }}",
        '{{ $x := "xxxxxxxxxx" }}{{ range until 40 }}{{ $x = print $x $x }}{{ end }}',
    ],
)
async def test_a_template_that_takes_memory_is_stopped_and_told(
    renderer: Renderer, commit: Committer, template: str
) -> None:
    with pytest.raises(RenderError, match=r"more memory than|more processor time"):
        await renderer.render(commit(bomb(template)), source("bomb"), TARGET)


@pytest.fixture
async def hasty() -> AsyncIterator[Renderer]:
    """A renderer without patience."""
    made = Renderer(Secrets(), programs=programs(), limits=Limits(seconds=2.0, output=MIB))
    await made.open()
    yield made
    made.close()


def renderers() -> list[psutil.Process]:
    """This process' children that render, or are about to."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if child.name() in ("helm", "unshare")]


LOOP = "{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}"


async def test_a_template_without_end_is_stopped_with_all_that_it_started(hasty: Renderer, commit: Committer) -> None:
    with pytest.raises(RenderError, match="did not finish within 2 s"):
        await hasty.render(commit(bomb(LOOP)), source("bomb"), TARGET)
    assert not renderers()


async def test_processor_time_is_bounded_too(commit: Committer) -> None:
    renderer = Renderer(Secrets(), programs=programs(), limits=Limits(seconds=120, cpu_seconds=2))
    await renderer.open()
    try:
        with pytest.raises(RenderError, match="more processor time"):
            await renderer.render(commit(bomb(LOOP)), source("bomb"), TARGET)
    finally:
        renderer.close()


async def test_too_much_output_is_refused(hasty: Renderer, commit: Committer) -> None:
    template = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ repeat 2000000 "x" }}}\n'
    with pytest.raises(RenderError, match="more than 1048576 bytes"):
        await hasty.render(commit(bomb(template)), source("bomb"), TARGET)


async def test_a_cancelled_render_leaves_no_process_and_no_file(hasty: Renderer, commit: Committer) -> None:
    task = asyncio.create_task(hasty.render(commit(bomb(LOOP)), source("bomb"), TARGET))
    while not renderers():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not renderers()


async def test_the_environment_and_the_memory_of_the_worker_are_out_of_reach(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDLASS_KEY", "a-key-of-this-test")
    code, said = await python(sandbox, tmp_path, "import os; print(dict(os.environ))")
    assert code == 0
    assert "WINDLASS_KEY" not in said
    if not sandbox.isolated:
        pytest.skip("this machine gives no user namespaces")
    for file in ("environ", "mem"):
        code, said = await python(sandbox, tmp_path, f"open('/proc/{os.getpid()}/{file}', 'rb').read(1)")
        assert code == 1
        assert "PermissionError" in said


async def test_there_is_no_network(sandbox: Sandbox, tmp_path: Path) -> None:
    if not sandbox.isolated:
        pytest.skip("this machine gives no network namespaces")
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        code, said = await python(sandbox, tmp_path, connect)
    assert code == 1
    assert "unreachable" in said


async def test_what_a_program_leaves_running_ends_with_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its children hold its pipes open: nobody waits for them."""
    left = "import os, time\nif os.fork() == 0: time.sleep(600)\nprint(os.getpid())\n"
    code, said = await asyncio.wait_for(python(sandbox, tmp_path, left), 30)
    assert code == 0
    deadline = asyncio.get_running_loop().time() + 30  # the kernel ends it in its own time
    while any(_group(process.pid) == int(said) for process in psutil.process_iter()):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        return os.getpgid(pid) if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else 0
    return 0


async def test_the_limits_are_the_programs_own(sandbox: Sandbox, tmp_path: Path) -> None:
    names = ("DATA", "CPU", "FSIZE", "CORE", "NPROC")
    ask = "import resource, time\ntime.sleep(0.5)\n"
    ask += f"for name in {names}: print(name, *resource.getrlimit(getattr(resource, 'RLIMIT_' + name)))"
    code, said = await python(sandbox, tmp_path, ask)
    limits, told = sandbox.limits, {line.split()[0]: line.split()[1:] for line in said.splitlines()}
    expected = {"DATA": limits.memory, "CPU": limits.cpu_seconds, "FSIZE": limits.file, "CORE": 0}
    if sandbox.isolated:
        expected["NPROC"] = limits.processes
    assert code == 0
    assert {name: told[name] for name in expected} == {name: [str(most)] * 2 for name, most in expected.items()}


async def test_files_are_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    code, said = await python(sandbox, tmp_path, "f = open('big', 'wb')\nfor _ in range(80): f.write(bytes(1 << 20))")
    assert code == 1
    assert "OSError" in said
    assert (tmp_path / "big").stat().st_size <= Limits().file


async def test_a_scratch_folder_is_private_and_goes(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.open()
    async with scratch.folder({"a/b.yaml": b"1"}) as made:
        assert (made.files / "a/b.yaml").read_bytes() == b"1"
        assert all(folder.stat().st_mode & 0o077 == 0 for folder in (made.files.parent, made.files.parent.parent))
    assert not made.files.exists()
    scratch.close()
    assert not list(tmp_path.iterdir())


async def test_what_a_killed_process_left_is_removed_and_what_lives_stays(tmp_path: Path) -> None:
    living = Scratch(tmp_path)
    living.open()
    left = "import os\nfrom pathlib import Path\nfrom workers.render.scratch import Scratch\n"
    left += f"s = Scratch(Path({str(tmp_path)!r})); s.open(); os.kill(os.getpid(), 9)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", left)
    await process.wait()
    assert len(list(tmp_path.iterdir())) == 2
    newcomer = Scratch(tmp_path)
    newcomer.open()
    assert len(list(tmp_path.iterdir())) == 2, "the dead one's is gone, the newcomer's is there"
    async with living.folder({"a": b"1"}) as made:
        assert made.files.exists()
    living.close()
    newcomer.close()
