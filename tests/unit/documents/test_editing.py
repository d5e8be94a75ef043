"""What a promotion may say of its edit and of its commits, and what is refused, with its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.documents.test_promotions import TOKEN, promotion, read, repository


def test_all_that_an_edit_may_say() -> None:
    edit = {
        "files": ["values-*.yaml"],
        "fields": [
            {"file": "values.yaml", "path": "web.image.tag"},
            {"file": "a.yaml", "path": ".x[0]", "part": "image"},
        ],
        "marker": "flux-system:web",
        "kustomize": "web",
        "add": True,
    }
    signing = {"kind": "ssh", "key": TOKEN}
    commit = {"name": "Robo", "email": "robo@shop.example", "message": "{{name}} {{tag}}", "signing": signing}
    catalog, errors = read(repository(), promotion(edit=edit, commit=commit))
    assert errors == []
    (view,) = catalog.promotions.values()
    assert [field.part for field in view.promotion.spec.edit.fields] == ["tag", "image"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"edit": {"files": ["/etc/passwd"]}}, "spec.edit.files[0]: expected a pattern"),
        ({"edit": {"fields": [{"file": "/a", "path": "a"}]}}, "spec.edit.fields[0].file: expected a file below"),
        ({"edit": {"fields": [{"file": "a", "path": "a["}]}}, "spec.edit.fields[0].path: expected a path such as"),
        (
            {"edit": {"fields": [{"file": "a", "path": "a", "part": "x"}]}},
            "spec.edit.fields[0].part: expected one of image, name, tag, digest",
        ),
        ({"edit": {"marker": "web"}}, "spec.edit.marker: expected NAMESPACE:NAME"),
        ({"edit": {"kustomize": ""}}, "spec.edit.kustomize: expected the name"),
        ({"edit": {"fils": []}}, "spec.edit.fils:"),
        ({"commit": {"name": "A <b>"}}, "spec.commit.name: expected a name on one line"),
        ({"commit": {"name": "A\nparent 0"}}, "spec.commit.name: expected a name on one line"),
        ({"commit": {"email": "nobody"}}, "spec.commit.email: expected an address"),
        ({"commit": {"message": "{{secret}}"}}, "spec.commit.message: {{secret}} is not known"),
        ({"commit": {"signing": {"kind": "x509", "key": TOKEN}}}, "spec.commit.signing.kind: expected one of gpg, ssh"),
        ({"commit": {"signing": {"kind": "ssh", "key": {}}}}, "spec.commit.signing.key: expected exactly one of"),
    ],
)
def test_what_is_refused_is_named(more: dict[str, Any], error: str) -> None:
    catalog, errors = read(repository(), promotion(**more))
    assert not catalog.promotions
    assert any(found.startswith(error) for found in errors), errors
