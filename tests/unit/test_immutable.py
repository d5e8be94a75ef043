"""Which refusals deleting an object would mend, which never count as one, and what a person is told."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.directives import PLAIN, Directives, directives
from workers.immutable import advice, immutable_fields, may_replace
from workers.kube.errors import ApiError, Cause, from_answer
from workers.kube.keys import PRECIOUS

FIELD = "Invalid value: {}: field is immutable"


def refused(*causes: tuple[str, str], status: int = 422, kind: str = "ConfigMap") -> ApiError:
    """The server's answer to a write, as it is read."""
    listed = [
        {
            "reason": "FieldValueForbidden" if m.startswith("Forbidden") else "FieldValueInvalid",
            "field": f,
            "message": m,
        }
        for f, m in causes
    ]
    body = {"kind": "Status", "reason": "Invalid", "message": str(causes), "details": {"causes": listed}}
    return from_answer(status, orjson.dumps(body), secret=kind == "Secret")


def asks(**options: str) -> Directives:
    text = ",".join(f"{name}={value}" for name, value in options.items())
    return directives({"argocd.argoproj.io/sync-options": text})


OWN_YES, OWN_NO = (directives({"windlass.dev/replace": value}) for value in ("true", "false"))


def test_the_fields_are_told_each_once() -> None:
    error = refused(("spec.selector", FIELD), ("spec.template", FIELD), ("spec.selector", FIELD))
    assert immutable_fields(error, "Job.batch") == ("spec.selector", "spec.template")


def test_a_second_fault_would_stand_in_the_way_of_creating_it_so_nothing_is_deleted() -> None:
    error = refused(
        ("spec.selector", FIELD), ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")
    )
    assert immutable_fields(error, "Deployment.apps") == ()


@pytest.mark.parametrize("status", [400, 403, 409, 500])
def test_only_an_objects_own_rules_count_and_never_a_policys_denial(status: int) -> None:
    assert immutable_fields(refused(("spec", FIELD), status=status), "Deployment.apps") == ()


def test_an_answer_without_causes_is_no_reason_to_delete() -> None:
    assert immutable_fields(ApiError("field is immutable", status=422), "ConfigMap") == ()


@pytest.mark.parametrize(
    "message",
    [
        'Invalid value: "field is immutable": must be no more than 3 characters',
        'Invalid value: {"note":"x: immutable"}: unknown value',
        'Unsupported value: "immutable": supported values: "a", "b"',
        "Required value",
        "Forbidden: may not be set",
        "",
    ],
)
def test_a_value_that_reads_like_a_refusal_is_none(message: str) -> None:
    assert immutable_fields(refused(("spec.x", message)), "ConfigMap") == ()


def test_of_a_whole_spec_the_manifests_tell_which_field() -> None:
    message = "Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' are forbidden"
    before = {"spec": {"serviceName": "a", "replicas": 1, "template": {}, "selector": {}}}
    after = {"spec": {"serviceName": "b", "replicas": 2, "template": {}, "volumeClaimTemplates": []}}
    error = refused(("spec", message))
    found = immutable_fields(error, "StatefulSet.apps", before, after)
    assert found == ("spec.serviceName", "spec.selector", "spec.volumeClaimTemplates")
    assert immutable_fields(error, "StatefulSet.apps") == ("spec",), "nothing is guessed without them"
    assert immutable_fields(error, "StatefulSet.apps", before, before) == ("spec",)


def test_a_field_that_may_sometimes_change_is_told_if_it_is_the_only_one() -> None:
    message = "Forbidden: spec is immutable after creation except resources.requests for bound claims\n@@ -1 +1 @@"
    before, after = {"spec": {"resources": {"requests": 1}}}, {"spec": {"resources": {"requests": 2}}}
    assert immutable_fields(refused(("spec", message)), "PersistentVolumeClaim", before, after) == ("spec.resources",)


@pytest.mark.parametrize(
    ("field", "message", "known"),
    [
        ("data", "Forbidden: field is immutable when `immutable` is set", True),
        ("immutable", "Forbidden: field is immutable when `immutable` is set", True),
        ("type", "Invalid value: canary: field is immutable", True),
        ("data[canary]", "Invalid value: canary: a valid config key must consist of", False),
        ("data", "Invalid value: canary: not that", False),
        ("metadata.labels", "Forbidden: field is immutable", False),
    ],
)
def test_a_secrets_refusal_is_known_without_its_text(field: str, message: str, known: bool) -> None:
    found = immutable_fields(refused((field, message), kind="Secret"), "Secret")
    assert found == ((field,) if known else ())


# -- what may be replaced -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "application", "allowed"),
    [
        (PLAIN, False, False),
        (PLAIN, True, True),
        (asks(Replace="true"), False, True),
        (asks(Force="true"), False, True),
        (asks(Replace="false"), True, False),
        (OWN_YES, False, True),
        (OWN_NO, True, False),
        (asks(Prune="false"), True, False),
        (asks(Delete="confirm"), True, False),
        (asks(Prune="false", Force="true"), False, True),
    ],
)
def test_an_objects_word_goes_before_its_applications(wishes: Directives, application: bool, allowed: bool) -> None:
    assert may_replace("Deployment.apps", wishes, application) is allowed


@pytest.mark.parametrize("kind", sorted(PRECIOUS))
def test_what_is_precious_takes_windlass_own_word_alone(kind: str) -> None:
    assert not may_replace(kind, asks(Replace="true", Force="true"), application=True)
    assert may_replace(kind, OWN_YES, application=False)


# -- what a person is told ------------------------------------------------------------------------------------------


def test_the_advice_names_the_field_the_harm_and_what_to_do() -> None:
    assert advice("StatefulSet.apps", ("spec.serviceName",)) == (
        "spec.serviceName: can't be changed while the object exists. Either give it another name, or let it be deleted and "
        "created anew (its pods are stopped, and others started; their claims stay): "
        'annotate it with windlass.dev/replace: "true"'
    )


def test_many_fields_are_counted() -> None:
    assert advice("Widget.example", tuple("abcdefg")).startswith("a, b, c, d, e and 2 more: ")


fields = st.sampled_from(["spec", "spec.a", "data", "type"])
values = st.text(st.sampled_from('ab: "\nimutle`'), max_size=30)


@given(st.lists(st.tuples(fields, values), min_size=1, max_size=3), st.sampled_from(["Secret", "Job.batch"]))
def test_no_field_and_no_advice_holds_a_value(causes: list[tuple[str, str]], kind: str) -> None:
    told = [(field, f"Invalid value: canary{value}: field is immutable") for field, value in causes]
    found = immutable_fields(refused(*told, kind=kind), kind, {"spec": {"a": "canary"}}, {"spec": {"a": "canary2"}})
    assert "canary" not in advice(kind, found)
    assert kind == "Secret" or set(found) == {"spec.a" if field == "spec" else field for field, _ in causes}


@given(values.filter(lambda value: "immutable" not in value))
def test_what_is_said_about_a_value_decides_not_the_value(value: str) -> None:
    causes = (Cause("FieldValueInvalid", "spec.a", f"Invalid value: field is immutable{value}: must be positive"),)
    assert immutable_fields(ApiError("x", status=422, causes=causes), "Job.batch") == ()
