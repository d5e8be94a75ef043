"""What an Application says about order: exact, or refused; and no application that waits for itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents import rules
from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.ordering import (
    DEFAULT_LIMIT,
    DEFAULT_TIMEOUT,
    Dependency,
    PruneLimit,
    cycle_message,
    cycles,
    dependencies,
    prune_limit,
    seconds,
    timeout,
)
from windlass.documents.types import Application, ApplicationSpec, Cluster, ClusterSpec, Repository, RepositorySpec


def application(name: str, **sync: Any) -> Application:
    """As YAML says it, but for the check that the fields are built."""
    spec = {"sources": [{"repository": "shop", "branch": "main"}], "destination": {"cluster": "here"}, "sync": sync}
    return Application(name, msgspec.convert(spec, ApplicationSpec))


def faults(**sync: Any) -> list[tuple[str, str]]:
    found = rules.violations(application("shop", **sync))
    return [(".".join(map(str, path)), message) for path, message in found]


# -- dependsOn ------------------------------------------------------------------------------------------------------


def test_a_dependency_is_a_name_or_says_what_it_waits_for() -> None:
    made = application("shop", dependsOn=["db", {"application": "crds", "until": "applied"}, {"application": "dns"}])
    assert dependencies(made.spec.sync.depends_on) == (
        Dependency("db", "healthy"),
        Dependency("crds", "applied"),
        Dependency("dns", "healthy"),
    )
    assert list(rules.violations(made)) == []


@pytest.mark.parametrize(
    ("said", "path", "message"),
    [
        ("../x", "sync.dependsOn.0", "expected the name of an Application"),
        ({"application": ""}, "sync.dependsOn.0.application", "expected the name of an Application"),
        ("shop", "sync.dependsOn.0", "an application can't depend on itself"),
        ({"application": "db", "until": "ready"}, "sync.dependsOn.0.until", "expected applied or healthy"),
    ],
)
def test_a_dependency_that_says_nothing_is_refused(said: Any, path: str, message: str) -> None:
    assert faults(dependsOn=[said]) == [(path, message)]


def test_a_dependency_is_named_once() -> None:
    assert faults(dependsOn=["db", {"application": "db", "until": "applied"}]) == [
        ("sync.dependsOn.1.application", "is there a second time")
    ]


@pytest.mark.parametrize("said", ["db", [1], [{"until": "applied"}], [{"application": "db", "when": "now"}], [["db"]]])
def test_another_shape_is_refused(said: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        application("shop", dependsOn=said)


# -- pruneLimit and timeout -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (None, DEFAULT_LIMIT),
        (0, PruneLimit(number=0)),
        (25, PruneLimit(number=25)),
        ("50%", PruneLimit(share=0.5)),
        ("0%", PruneLimit(share=0.0)),
        ("100%", PruneLimit(share=1.0)),
    ],
)
def test_a_limit_is_a_share_or_a_number(said: int | str | None, limit: PruneLimit) -> None:
    assert prune_limit(said) == limit
    assert faults(pruneLimit=said) == []


@pytest.mark.parametrize("said", [-1, "", "half", "50", "101%", "-1%", "50 %", "5.5%", "\u0665%", "50%\n"])
def test_a_limit_that_is_not_exactly_understood_is_refused(said: int | str) -> None:
    assert faults(pruneLimit=said) == [("sync.pruneLimit", 'expected a share such as "50%", or a number of objects')]


@pytest.mark.parametrize(
    ("limit", "owned", "allowed"),
    [
        (PruneLimit(share=0.5), 3, 1),
        (PruneLimit(share=0.5), 4, 2),
        (PruneLimit(share=0.29), 100, 29),
        (PruneLimit(share=1.0), 7, 7),
        (PruneLimit(share=0.0), 7, 0),
        (PruneLimit(number=3), 1000, 3),
        (DEFAULT_LIMIT, 2, 5),
        (DEFAULT_LIMIT, 100, 50),
    ],
)
def test_what_a_limit_allows(limit: PruneLimit, owned: int, allowed: int) -> None:
    assert limit.allowed(owned) == allowed


@pytest.mark.parametrize(
    ("text", "length"), [("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m5s", 5405), ("24h", 86400)]
)
def test_a_duration(text: str, length: float) -> None:
    assert seconds(text) == timeout(text) == length
    assert faults(timeout=text) == []


@pytest.mark.parametrize(
    "text", ["", "5", "0s", "1x", "-5m", "5M", "1.5h", "5m1h", " 5m", "5m\n", "25h", "9" * 99 + "s"]
)
def test_a_duration_that_is_not_exactly_understood_is_refused(text: str) -> None:
    assert faults(timeout=text) == [("sync.timeout", "expected a duration such as 90s, 5m or 1h30m, of a day at most")]


def test_nothing_said_is_the_default() -> None:
    assert timeout(None) == DEFAULT_TIMEOUT


# -- cycles ---------------------------------------------------------------------------------------------------------


def graph(**said: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(others.split()) for name, others in said.items()}


def test_each_member_of_a_cycle_is_told_its_own_way_round() -> None:
    assert cycles(graph(a="b", b="c", c="a", d="a", e="")) == {
        "a": ("a", "b", "c"),
        "b": ("b", "c", "a"),
        "c": ("c", "a", "b"),
    }


def test_what_lies_between_two_cycles_is_in_none() -> None:
    assert set(cycles(graph(a="b", b="a x", x="c", c="d", d="c"))) == {"a", "b", "c", "d"}


def test_a_name_without_an_application_is_no_cycle() -> None:
    assert cycles(graph(a="nobody", b="a")) == {}


def test_a_long_cycle_is_found_and_shown_short() -> None:
    ring = {f"a{n:05}": frozenset({f"a{(n + 1) % 5000:05}"}) for n in range(5000)}
    found = cycles(ring)
    assert found.keys() == ring.keys()
    assert cycle_message(found["a00000"]).endswith("a00009 -> (4990 more) -> a00000")


def reachable(start: str, said: dict[str, frozenset[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for other in said.get(ahead.pop(), frozenset()) - seen:
            seen.add(other)
            ahead.append(other)
    return seen


nodes = st.sampled_from("abcdefg")


@given(st.dictionaries(nodes, st.frozensets(nodes, max_size=3)))
def test_an_application_is_in_a_cycle_if_and_only_if_it_depends_on_itself(said: dict[str, frozenset[str]]) -> None:
    found = cycles(said)
    assert set(found) == {name for name in said if name in reachable(name, said)}
    for name, way in found.items():
        assert way[0] == name
        assert len(set(way)) == len(way)
        assert all(after in said[before] for before, after in zip(way, (*way[1:], name), strict=True))


# -- documents together ---------------------------------------------------------------------------------------------


def catalog(**depends_on: str) -> Catalog:
    placed = [
        Placed(Repository("shop", RepositorySpec("https://git.example/shop.git")), "base.yaml", 1),
        Placed(Cluster("here", ClusterSpec(in_cluster=True)), "base.yaml", 5),
    ]
    for line, (name, others) in enumerate(depends_on.items(), start=10):
        placed.append(Placed(application(name, dependsOn=others.split()), "apps.yaml", line))
    return build(placed)


def test_applications_that_depend_on_each_other_are_refused_each_where_it_stands() -> None:
    found = catalog(a="b", b="a", c="")
    assert list(found.applications) == ["c"]
    assert [str(error) for error in found.errors] == [
        "apps.yaml:10: spec.sync.dependsOn: these applications wait for each other: a -> b -> a",
        "apps.yaml:11: spec.sync.dependsOn: these applications wait for each other: b -> a -> b",
    ]


def test_what_depends_on_an_application_that_is_not_valid_is_not_valid_either() -> None:
    found = catalog(a="nobody", b="a", c="b d", d="")
    assert list(found.applications) == ["d"]
    assert [str(error) for error in found.errors] == [
        "apps.yaml:10: spec.sync.dependsOn: there is no valid Application nobody",
        "apps.yaml:11: spec.sync.dependsOn: there is no valid Application a",
        "apps.yaml:12: spec.sync.dependsOn: there is no valid Application b",
    ]


def test_an_order_without_cycles_is_no_error_however_it_is_written() -> None:
    found = catalog(app="db cache", cache="crds", db="crds", crds="")
    assert (list(found.applications), found.errors) == (["app", "cache", "db", "crds"], ())


@given(st.dictionaries(nodes, st.frozensets(nodes, max_size=2)))
def test_what_is_left_can_be_ordered_and_needs_nobody_else(said: dict[str, frozenset[str]]) -> None:
    found = catalog(**{name: " ".join(sorted(others - {name})) for name, others in said.items()})
    left = {
        name: {d.application for d in dependencies(a.spec.sync.depends_on)} for name, a in found.applications.items()
    }
    assert all(others <= left.keys() for others in left.values())
    assert not cycles({name: frozenset(others) for name, others in left.items()})
    assert {error.line for error in found.errors} == {
        line for line, name in enumerate(said, start=10) if name not in found.applications
    }, "each application that is left out is told, and no other"
