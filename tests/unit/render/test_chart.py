"""What a chart's files say of it, and what an archive must not do."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from workers.render import chart
from workers.render.commit_tree import RenderError


def archive(files: dict[str, bytes], *, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if link:
            member = tarfile.TarInfo("redis/values.yaml")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return buffer.getvalue()


REDIS = archive({"redis/Chart.yaml": b"name: redis\nversion: 1.2.3\n", "redis/templates/a.yaml": b"a: {{ uuidv4 }}"})


def test_name_version_and_dependencies_with_their_lines() -> None:
    files = {
        "web/Chart.yaml": b"name: web\nversion: 1.0.0\ndependencies:\n- name: redis\n  version: ^1\n"
        b"  repository: https://charts.example\n- name: common\n  repository: file://../common\n"
    }
    found = chart.read_chart(files, "web")
    assert (found.name, found.version) == ("web", "1.0.0")
    assert found.dependencies == (
        chart.Dependency("redis", "^1", "https://charts.example", 4),
        chart.Dependency("common", "", "file://../common", 7),
    )


def test_requirements_of_the_older_format_and_its_lock() -> None:
    files = {
        "Chart.yaml": b"name: web\n",
        "requirements.yaml": b"dependencies: [{name: redis, version: 1.x.x}]",
        "requirements.lock": b"dependencies: [{name: redis, version: 1.2.3}]",
    }
    assert [found.name for found in chart.read_chart(files, "").dependencies] == ["redis"]
    assert chart.locked(files, "") == {"redis": "1.2.3"}


def test_vendored_charts_unpacked_and_archived() -> None:
    files = {"web/charts/redis-1.2.3.tgz": REDIS, "web/charts/lib/Chart.yaml": b"name: common\n"}
    assert chart.vendored(files, "web") == {"redis", "common"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"version: 1", "Chart.yaml:1: name: expected the name of a chart"),
        (b"name: ../x", "Chart.yaml:1: name: expected the name of a chart"),
        (b"name: a\ndependencies: {}", ""),
        (b"name: a\ndependencies: {a: b}", "Chart.yaml:2: dependencies: expected a list"),
        (
            b"name: a\ndependencies:\n- name: ../../x",
            "Chart.yaml:3: dependencies[0].name: expected the name of a chart",
        ),
        (b"[]", "Chart.yaml:1: expected one mapping"),
    ],
)
def test_a_chart_that_is_none(text: bytes, message: str) -> None:
    if not message:
        assert chart.read_chart({"Chart.yaml": text}, "").dependencies == ()
        return
    with pytest.raises(RenderError) as caught:
        chart.read_chart({"Chart.yaml": text}, "")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        b"{{ randAlphaNum 10 }}",
        b"{{- $ca := genCA .Values.name 365 -}}",
        b"x: {{ .Values.password | default (randAlpha 8) | b64enc | quote }}",
        b'{{ htpasswd "a" "b" }}',
        b"{{ now | date }}",
        b"{{\n  uuidv4\n}}",
    ],
)
def test_a_random_function_in_an_action_is_found(text: bytes) -> None:
    assert chart.facts({"web/templates/a.yaml": text}).random


@pytest.mark.parametrize(
    "text",
    [
        b"# randAlphaNum is what we do not call now",
        b"{{/* randAlphaNum 10 */}}",
        b"{{- /* now */ -}}",
        b"{{ .Values.brand }}",
        b"a: {{ .Values.known }}",
        b"a: {{ .Values.now }}",
        b'{{ include "web.now" . }}{{ fail "upgrade now" }}',
        b'{{ derivePassword 1 "long" "a" "b" "c" }}',
    ],
)
def test_an_ordinary_template_is_not_taken_for_random(text: bytes) -> None:
    assert chart.facts({"web/templates/a.yaml": text}) == chart.Facts((), looks_up=False)


def test_braces_that_are_never_closed_take_no_time() -> None:
    """Ten million of them: whatever tries each to the end of the file takes hours, and holds the whole worker."""
    assert chart.facts({"web/templates/a.yaml": b"{{ now }}" + b"{{" * 10_000_000}).random == ("now",)


def test_an_archived_chart_is_looked_into_also_in_values_and_for_lookup() -> None:
    assert chart.facts({"web/charts/redis-1.2.3.tgz": REDIS}).random == ("uuidv4",)
    assert chart.facts({"values.yaml": b"password: '{{ randAlphaNum 3 }}'"}).random == ("randAlphaNum",)
    assert chart.facts({"t.yaml": b'{{ lookup "v1" "Secret" "a" "b" }}'}).looks_up


@pytest.mark.parametrize(
    "schema",
    [
        b'{"$ref": "file:///dev/zero"}',
        b'{"\\u0024ref": "http://169.254.169.254/latest"}',
        b'{"properties": {"a": {"items": [{"$dynamicRef": "other.json"}]}}}',
        b'{"$schema": "https://evil.example/schema"}',
    ],
)
def test_a_schema_that_leads_out_of_itself_is_refused(schema: bytes) -> None:
    with pytest.raises(RenderError, match="refers to"):
        chart.facts({"web/values.schema.json": schema})


def test_a_schema_of_its_own_is_fine() -> None:
    schema = b'{"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "properties": {"a": {"$ref": "#/$defs/b"}}}'
    assert chart.facts({"web/values.schema.json": schema}) == chart.Facts((), looks_up=False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no archive", "is no gzip"),
        (gzip.compress(b"no tar" * 200), "no tar"),
        (archive({"../../etc/cron.d/x": b""}), "leads out"),
        (archive({"/etc/x": b""}), "leads out"),
        (archive({"redis/Chart.yaml": b"name: redis"}, link="/etc/passwd"), "a link"),
        (archive({"a/Chart.yaml": b"name: a", "b/Chart.yaml": b"name: b"}), "one folder"),
    ],
    ids=[
        "no gzip",
        "no tar",
        "climbs",
        "absolute",
        "link",
        "two folders",
    ],  # an archive holds the time at which it was made
)
def test_a_hostile_archive_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        chart.archived_chart(data, "charts/redis.tgz")


def test_an_archive_that_inflates_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "MAX_UNPACKED", 1 << 16)
    with pytest.raises(RenderError, match="unpacks to more than 65536 bytes"):
        chart.unpack(gzip.compress(bytes(1 << 20)), "charts/redis.tgz")


def test_archives_in_archives_end_somewhere() -> None:
    data = REDIS
    for _ in range(chart.MAX_NESTED + 1):
        data = archive({"web/Chart.yaml": b"name: web", "web/charts/x.tgz": data})
    with pytest.raises(RenderError, match="nested"):
        chart.facts({"web/charts/x.tgz": data})
