"""Kustomize and Helm, whole: a push renders what it touches, and only that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import World, config_map
from tests.parts.build import binary
from tests.parts.waiting import until
from tests.parts.windlass import Windlass, application, cluster, repository

pytestmark = pytest.mark.e2e

CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
data:
  value: {{ .Values.colour | quote }}
  cluster: {{ .Capabilities.KubeVersion.Version }}
"""
LOGIN = """apiVersion: v1
kind: Secret
metadata:
  name: login
stringData:
  password: {{ randAlphaNum 20 | quote }}
  colour: {{ .Values.colour | quote }}
"""


class Rendered(World):
    """Three applications of one repository: an overlay over a base elsewhere, a chart, and a plain one."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        super().__init__(folder, name, kubeconfig)
        programs = {binary(program).parent for program in ("helm", "kustomize")}
        path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
        self.windlass = Windlass(folder / "windlass", self.redis.url, PATH=path)
        self.overlay, self.chart = f"{name}-overlay", f"{name}-chart"
        chart: dict[str, Any] = {"helm": {"release": "web", "valuesFiles": ["../values.yaml"]}}
        documents = [
            repository(name, self.url, forge="generic"),
            cluster("local", kubeconfig),
            application(name, repository=name, path="manifests", namespace=name),
            application(self.overlay, repository=name, path="overlays/prod", namespace=name),
            application(self.chart, repository=name, path="charts/web", namespace=name),
        ]
        documents[-1]["spec"]["sources"][0] |= chart  # type: ignore[index]
        self.windlass.write(*documents)

    def start(self) -> None:
        self.work.commit(
            {
                "base/kustomization.yaml": "resources: [base.yaml]\n",
                "base/base.yaml": config_map("base", "1"),
                "overlays/prod/kustomization.yaml": "namePrefix: prod-\nresources: [../../base]\n",
                "charts/web/Chart.yaml": CHART,
                "charts/web/values.yaml": "colour: none\n",
                "charts/web/templates/settings.yaml": TEMPLATE,
                "charts/web/templates/login.yaml": LOGIN,
                "charts/values.yaml": "colour: green\n",
            }
        )
        super().start()
        until(lambda: (self.value("prod-base"), self.value("web-settings")) == ("1", "green"), show=self.log)

    def log(self) -> str:
        return self.windlass.log("worker")[-4000:]

    def revisions(self) -> list[str]:
        return [self.windlass.last_run(name).revision for name in (self.name, self.overlay, self.chart)]


@pytest.fixture
def rendered(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[Rendered]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Rendered(folder, unique, kubeconfig)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_change_of_a_base_in_another_folder_reaches_the_overlay_and_nothing_else(rendered: Rendered) -> None:
    before = rendered.revisions()
    commit = rendered.work.commit_and_push({"base/base.yaml": config_map("base", "2")})
    rendered.deliver(commit)
    until(lambda: rendered.value("prod-base") == "2", show=rendered.log)
    assert rendered.windlass.last_run(rendered.overlay).applied == 1
    after = rendered.revisions()
    assert (after[0], after[2]) == (before[0], before[2])


def test_a_values_file_outside_of_the_chart_is_followed(rendered: Rendered) -> None:
    rendered.deliver(rendered.work.commit_and_push({"charts/values.yaml": "colour: red\n"}))
    until(lambda: rendered.value("web-settings") == "red", show=rendered.log)


def test_the_chart_sees_the_version_of_the_cluster(rendered: Rendered) -> None:
    found = rendered.cluster.get(f"/api/v1/namespaces/{rendered.name}/configmaps/web-settings")
    version = rendered.cluster.get("/version")
    assert found is not None
    assert version is not None
    assert found["data"]["cluster"] == version["gitVersion"]


def test_a_password_that_the_chart_makes_up_is_made_up_once(rendered: Rendered) -> None:
    path = f"/api/v1/namespaces/{rendered.name}/secrets/login"
    before = rendered.cluster.get(path)
    assert before is not None
    rendered.deliver(rendered.work.commit_and_push({"charts/values.yaml": "colour: blue\n"}))
    until(lambda: rendered.value("web-settings") == "blue", show=rendered.log)
    after = rendered.cluster.get(path)
    assert after is not None
    assert after["data"]["password"] == before["data"]["password"]
    assert after["data"]["colour"] != before["data"]["colour"]
    assert any("password" in warning for warning in rendered.windlass.last_run(rendered.chart).warnings)


def test_a_commit_that_no_render_reads_costs_nothing(rendered: Rendered) -> None:
    before = rendered.revisions()
    run = rendered.push({"manifests/a.yaml": config_map("a", "2"), "docs/readme.md": "words"})
    assert run.applied == 1
    assert rendered.revisions()[1:] == before[1:]


def test_what_an_overlay_no_longer_has_is_pruned(rendered: Rendered) -> None:
    files = {
        "base/kustomization.yaml": "resources: [base.yaml, more.yaml]\n",
        "base/more.yaml": config_map("more", "1"),
    }
    rendered.deliver(rendered.work.commit_and_push(files))
    until(lambda: rendered.value("prod-more") == "1", show=rendered.log)
    rendered.deliver(rendered.work.commit_and_push({"base/kustomization.yaml": "resources: [base.yaml]\n"}))
    until(lambda: rendered.value("prod-more") is None, show=rendered.log)
    assert rendered.value("prod-base") == "1"


def test_a_base_that_is_missing_is_an_error_that_names_it_and_nothing_is_pruned(rendered: Rendered) -> None:
    rendered.deliver(rendered.work.commit_and_push({"base/base.yaml": None}))
    until(lambda: rendered.windlass.last_run(rendered.overlay).phase == "Failed", show=rendered.log)
    (error,) = rendered.windlass.last_run(rendered.overlay).errors
    assert "base.yaml" in error
    assert rendered.value("prod-base") == "1"
