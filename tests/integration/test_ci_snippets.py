"""docs/ci: linted by each system's own rules where there is a linter, and their last steps run against a real service."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from tests.integration.intake import KEY, OTHER, SECRET, Intake
from tests.parts import build
from windlass.cli.push import deploy
from windlass.queue.promotions import Image, seal_of

pytestmark = pytest.mark.integration

CI = Path(__file__).parents[2] / "docs" / "ci"
ACTIONS = ("github-actions.yaml", "gitea-actions.yaml")
FILES = (*ACTIONS, "gitlab-ci.yaml", "tekton.yaml", "Jenkinsfile")
IMAGE, COMMIT, DIGEST = "registry.example/shop/web", "5f2c1e9a7b3d4c6e8f0a1b2c3d4e5f6a7b8c9d0e", "sha256:" + "ab" * 32
TAG, SOURCE = f"41-{COMMIT[:12]}", "https://git.example/shop/web.git"
REFERENCE = re.compile(r"\$\((params|workspaces|tasks|results)\.([a-z-]+)(?:\.results\.([a-z-]+)|\.path)?\)")
DOUBLE = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'\'\'(?s:.*?)\'\'\'|\'(?:[^\'\\\n]|\\.)*\'|//[^\n]*')


class Step(NamedTuple):
    """A script of a file, and the name of its job or step."""

    name: str
    script: str


def loaded(file: str) -> Any:
    return yaml.safe_load((CI / file).read_text())


def steps(file: str) -> Iterator[Step]:
    """Every script of a file."""
    if file == "Jenkinsfile":
        text = (CI / file).read_text()
        stages = re.findall(r"stage\('([^']+)'\).*?sh '''\n(.*?)'''", text, re.DOTALL)
        yield from (Step(name, script.replace("\\\\", "\\")) for name, script in stages)
    elif file == "tekton.yaml":
        for task in loaded(file)["spec"]["tasks"]:
            yield from (Step(f"{task['name']}/{step['name']}", step["script"]) for step in task["taskSpec"]["steps"])
    elif file == "gitlab-ci.yaml":
        jobs = {name: job for name, job in loaded(file).items() if isinstance(job, dict) and "script" in job}
        yield from (Step(name, "\n".join(job["script"])) for name, job in jobs.items())
    else:
        for name, job in loaded(file)["jobs"].items():
            yield from (Step(name, step["run"]) for step in job["steps"] if "run" in step)


def step(file: str, word: str) -> str:
    (found,) = [one.script for one in steps(file) if word in one.name.lower()]
    return found


@pytest.mark.parametrize("file", ACTIONS)
def test_actions_pass_actionlint(file: str) -> None:
    command = [str(build.binary("actionlint")), "-no-color", "-shellcheck=", "-pyflakes=", str(CI / file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("file", "schema"),
    [*((file, ["vendor.github-workflows"]) for file in ACTIONS),
     ("gitlab-ci.yaml", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"])],
)  # fmt: skip
def test_schemas_hold(file: str, schema: list[str]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *schema, str(CI / file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_tekton_refers_to_what_it_declares() -> None:
    pipeline = loaded("tekton.yaml")
    assert (pipeline["apiVersion"], pipeline["kind"]) == ("tekton.dev/v1", "Pipeline")
    spec = pipeline["spec"]
    tasks = {task["name"]: task for task in spec["tasks"]}
    for task in tasks.values():
        inside = task["taskSpec"]
        outer, own = dict(task, taskSpec=None), inside
        known = {kind: {one["name"] for one in spec.get(kind, ())} for kind in ("params", "workspaces")}
        for kind, name, result in REFERENCE.findall(yaml.safe_dump(outer)):
            if kind == "tasks":
                assert result in {one["name"] for one in tasks[name]["taskSpec"]["results"]}
            else:
                assert name in known[kind], f"{task['name']}: {name}"
        declared = {kind: {one["name"] for one in own.get(kind, ())} for kind in ("params", "workspaces", "results")}
        for kind, name, _ in REFERENCE.findall(yaml.safe_dump(own)):
            assert name in declared[kind], f"{task['name']}: {name}"
        assert {one["name"] for one in task["params"]} == declared["params"]
        assert {one["name"] for one in task.get("workspaces", ())} == declared["workspaces"]
        assert {one["workspace"] for one in task.get("workspaces", ())} <= known["workspaces"]
        assert all({"name", "image", "script"} <= one.keys() for one in own["steps"])


def test_the_jenkinsfile_is_a_declarative_pipeline() -> None:
    bare = DOUBLE.sub("''", (CI / "Jenkinsfile").read_text())
    depth, closed = [], {")": "(", "]": "[", "}": "{"}
    for character in bare:
        if character in "([{":
            depth.append(character)
        elif character in closed:
            assert depth.pop() == closed[character]
    assert depth == []
    assert re.match(r"\s*(''\s*)*pipeline \{\s+agent any\s", bare.removeprefix("''"))
    body = (CI / "Jenkinsfile").read_text()
    assert body.count("stage('") == bare.count("steps {") == bare.count("sh ''") == 3
    assert '"""' not in body
    assert not re.search(r'sh "', body), "Groovy would put secrets into the command"


@pytest.mark.parametrize("file", FILES)
def test_every_script_is_one_and_takes_nothing_from_outside_but_variables(file: str) -> None:
    found = list(steps(file))
    assert len(found) >= 3
    for one in found:
        shell = "bash" if file in ACTIONS else "sh"
        checked = subprocess.run([shell, "-n"], input=one.script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{one.name}: {checked.stderr}"
        assert "${{" not in one.script, "what a branch is called would be run"
        assert not REFERENCE.search(one.script), "what a parameter says would be run"


async def run(script: str, folder: Path, **environment: str) -> tuple[int, str]:
    """As CI runs it: with these variables and nothing else; with what the steps before left."""
    (folder / "tag").write_text(TAG)
    (folder / "digest").write_text(DIGEST)
    known = {
        "IMAGE": IMAGE, "TAG": TAG, "DIGEST": DIGEST, "REPOSITORY": SOURCE, "COMMIT": COMMIT, "GIT_URL": SOURCE,
        "GIT_COMMIT": COMMIT, "PATH": os.environ["PATH"], "HOME": str(folder), **environment,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "sh", "-e", "-c", script, cwd=folder, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def documented() -> list[dict[str, Any]]:
    """The documents that the README shows."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (CI / "README.md").read_text(), re.DOTALL)
    return list(yaml.safe_load_all(block))


@pytest.mark.parametrize("file", FILES)
async def test_the_last_step_tells_a_real_service(
    file: str, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_TOKEN", SECRET)
    manifests = {
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Repository",
        "metadata": {"name": "shop-manifests"},
        "spec": {"url": "https://git.example/m.git", "forge": "gitea", "pullRequests": {"token": {"env": "SECRET"}}},
    }
    intake.write(manifests, *documented())
    script, work = step(file, "promote"), tmp_path / "work"
    work.mkdir()
    refused, output = await run(script, work, WINDLASS_URL=intake.url, WINDLASS_TOKEN=OTHER)
    assert refused != 0
    assert OTHER not in output
    assert await intake.jobs() == []
    told, output = await run(script, work, WINDLASS_URL=intake.url, WINDLASS_TOKEN=SECRET)
    assert told == 0, output
    assert SECRET not in output
    assert await intake.jobs() == ["promotion_web-1"]
    (hint,) = await intake.redis.lrange("windlass:source:promotion_web:hints", 0, -1)
    word = seal_of(KEY).opened("web", msgspec.json.decode(hint)["before"].encode())
    image = msgspec.json.decode(word or b"not ours", type=Image)
    assert (image.identity, image.commit, image.repository) == (f"{TAG}@{DIGEST}", COMMIT, SOURCE)


@pytest.mark.parametrize("file", FILES)
def test_the_other_last_step_is_a_command_that_windlass_has(file: str) -> None:
    (line,) = re.findall(r"windlass (deploy .*)", step(file, "deploy"))
    arguments = shlex.split(line.replace("$(cat tag)", TAG).replace("$TAG", TAG).replace("$IMAGE", IMAGE))
    context = deploy.make_context("deploy", arguments[1:])
    assert (str(context.params["path"]), context.params["name"]) == ("manifests", "shop")
    assert context.params["images"][0].startswith(IMAGE)


def test_tags_as_the_snippets_make_them_are_accepted_by_the_documented_policy() -> None:
    promotion = next(one for one in documented() if one["kind"] == "Promotion")
    assert re.fullmatch(promotion["spec"]["policy"]["pattern"], TAG)
    for file in FILES:
        assert any(".12s" in one.script or ":0:12}" in one.script for one in steps(file)), file
