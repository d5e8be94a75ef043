"""Argo CD's and Helm's annotations, read as they read them; where they would lose a word, a problem says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.directives import PLAIN, READ, DeletePolicy, Directives, Phase, Say, directives
from workers.kube.keys import PRECIOUS

CRD = "CustomResourceDefinition.apiextensions.k8s.io"
JOB = "Job.batch"


def argo(kind: str = JOB, **words: str) -> Directives:
    return directives({f"argocd.argoproj.io/{name.replace('_', '-')}": value for name, value in words.items()}, kind)


def helm(kind: str = JOB, **words: str) -> Directives:
    return directives({f"helm.sh/{name.replace('_', '-')}": value for name, value in words.items()}, kind)


def option(text: str) -> Directives:
    return argo(sync_options=text)


# -- what costs nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotations", [None, {}, {"a": "b", "argocd.argoproj.io/tracking-id": "x"}])
def test_an_object_that_asks_for_nothing_shares_one_value(annotations: dict[str, str] | None) -> None:
    assert directives(annotations) is PLAIN
    assert (PLAIN.phases, PLAIN.wave, PLAIN.is_hook, PLAIN.problems) == ((Phase.SYNC,), 0, False, ())


def test_objects_that_ask_for_the_same_share_one_value() -> None:
    assert argo(sync_wave="3", kind="Deployment.apps") is argo(sync_wave="3", kind="Service")
    assert argo(sync_wave="0") is PLAIN


# -- phases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.SKIP])
def test_a_hook_of_argo_cd(phase: Phase) -> None:
    found = argo(hook=phase.value)
    assert (found.phases, found.is_hook, found.problems) == ((phase,), True, ())


def test_a_hook_may_have_several_phases_each_once_and_in_their_order() -> None:
    assert argo(hook=" PostSync,PreSync , PostSync").phases == (Phase.PRE_SYNC, Phase.POST_SYNC)


def test_skip_is_no_hook_but_keeps_the_object_out() -> None:
    found = argo(hook="Skip")
    assert (found.skipped, found.is_hook, found.problems) == (True, False, ())


def test_skip_beside_a_phase_does_not_count_as_in_argo_cd() -> None:
    found = argo(hook="Skip,PreSync")
    assert (found.phases, found.is_hook) == ((Phase.PRE_SYNC,), True)
    assert found.warnings


@pytest.mark.parametrize("text", ["presync", "Garbage", "", ","])
def test_a_hook_that_argo_cd_would_silently_leave_out_is_an_error(text: str) -> None:
    found = argo(hook=text)
    assert found.errors
    assert found.skipped, "and is never written as if it were an ordinary object"
    assert found.errors[0].startswith("metadata.annotations[argocd.argoproj.io/hook]: expected PreSync, Sync,")


def test_an_unknown_phase_beside_a_known_one_is_a_warning() -> None:
    found = argo(hook="Sync,Garbage")
    assert (found.phases, found.errors) == ((Phase.SYNC,), ())
    assert "'Garbage'" in found.warnings[0]


@pytest.mark.parametrize(
    ("hook", "phases"),
    [
        ("pre-install", (Phase.PRE_SYNC,)),
        ("pre-upgrade", (Phase.PRE_SYNC,)),
        ("pre-install,pre-upgrade", (Phase.PRE_SYNC,)),
        ("post-install", (Phase.POST_SYNC,)),
        ("post-install, post-upgrade", (Phase.POST_SYNC,)),
        ("pre-delete", (Phase.PRE_DELETE,)),
        ("post-delete", (Phase.POST_DELETE,)),
        ("pre-install,post-delete", (Phase.PRE_SYNC, Phase.POST_DELETE)),
        ("post-upgrade,test", (Phase.POST_SYNC,)),
    ],
)
def test_a_hook_of_helm_is_the_phase_of_argo_cd(hook: str, phases: tuple[Phase, ...]) -> None:
    found = helm(hook=hook)
    assert (found.phases, found.is_hook, found.problems) == (phases, True, ())


@pytest.mark.parametrize("hook", ["test", "test-success", "test-failure", "pre-rollback", "post-rollback"])
def test_a_hook_of_a_command_that_nobody_gives_is_left_out_without_a_word(hook: str) -> None:
    found = helm(hook=hook)
    assert (found.skipped, found.is_hook, found.problems) == (True, False, ())


def test_a_hook_that_helm_does_not_know_is_left_out_as_helm_does_with_a_warning() -> None:
    found = helm(hook="pre-instal")
    assert (found.skipped, found.errors) == (True, ())
    assert "'pre-instal'" in found.warnings[0]


def test_a_definition_with_helms_crd_install_is_an_object_like_others() -> None:
    assert helm(hook="crd-install", kind=CRD) is PLAIN
    assert helm(hook="crd-install,pre-install", kind=CRD) is PLAIN, (
        "else every sync would delete it, and all its objects"
    )
    assert helm(hook="crd-install", hook_weight="-5", kind=CRD).wave == -5


def test_a_hook_of_argo_cd_makes_helms_count_for_nothing() -> None:
    found = directives({"argocd.argoproj.io/hook": "Sync", "helm.sh/hook": "pre-install"})
    assert found.phases == (Phase.SYNC,)


# -- waves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wave"), [("5", 5), ("-5", -5), ("+5", 5), ("007", 7), ("0", 0)])
def test_a_wave_is_an_integer(text: str, wave: int) -> None:
    assert argo(sync_wave=text).wave == helm(hook_weight=text).wave == wave


@pytest.mark.parametrize("text", ["", "five", "1.0", " 1", "1_000", "٣", "1\n", "9" * 30])
def test_a_wave_that_is_no_integer_is_an_error_and_a_weight_a_warning(text: str) -> None:
    assert argo(sync_wave=text).errors == (
        'metadata.annotations[argocd.argoproj.io/sync-wave]: expected an integer, such as "-1" or "5"',
    )
    weight = helm(hook="pre-install", hook_weight=text)
    assert (weight.wave, weight.errors, len(weight.warnings)) == (0, (), 1)


def test_argo_cds_wave_goes_before_helms_weight() -> None:
    assert directives({"argocd.argoproj.io/sync-wave": "1", "helm.sh/hook-weight": "2"}).wave == 1


# -- hooks' deletion ------------------------------------------------------------------------------------------------


def test_a_hook_is_deleted_before_it_is_created_anew_unless_it_says_otherwise() -> None:
    assert argo(hook="PreSync").delete_policies == {DeletePolicy.BEFORE_CREATION}
    assert argo(hook="PreSync", hook_delete_policy="HookSucceeded").delete_policies == {DeletePolicy.SUCCEEDED}
    assert argo(hook="PreSync", hook_delete_policy="Never").delete_policies == frozenset()
    assert argo(sync_wave="1").delete_policies == frozenset(), "an object that is no hook has no such policy"


def test_policies_of_both_tools_add_up() -> None:
    found = directives(
        {
            "helm.sh/hook": "pre-install",
            "helm.sh/hook-delete-policy": "before-hook-creation, hook-failed",
            "argocd.argoproj.io/hook-delete-policy": "HookSucceeded",
        }
    )
    assert found.delete_policies == set(DeletePolicy)


@pytest.mark.parametrize("kind", sorted(PRECIOUS))
def test_a_precious_hook_is_deleted_only_where_it_says_so(kind: str) -> None:
    assert argo(kind, hook="PreSync").delete_policies == frozenset()
    asked = argo(kind, hook="PreSync", hook_delete_policy="BeforeHookCreation")
    assert asked.delete_policies == {DeletePolicy.BEFORE_CREATION}


def test_a_policy_that_is_not_known_is_a_warning_and_the_default_stays() -> None:
    found = argo(hook="PreSync", hook_delete_policy="OnSuccess")
    assert (found.delete_policies, found.errors) == ({DeletePolicy.BEFORE_CREATION}, ())
    assert "expected BeforeHookCreation, HookSucceeded, HookFailed or Never" in found.warnings[0]
    assert helm(hook="pre-install", hook_delete_policy="HookSucceeded").warnings


def test_what_runs_at_each_revision_is_a_hook_of_the_sync_phase() -> None:
    found = directives({"windlass.dev/run": "each-revision"}, JOB)
    assert (found.phases, found.is_hook, found.delete_policies) == (
        (Phase.SYNC,),
        True,
        {DeletePolicy.BEFORE_CREATION},
    )
    assert directives({"windlass.dev/run": "each-revision", "helm.sh/hook": "post-install"}).phases == (
        Phase.POST_SYNC,
    )
    assert directives({"windlass.dev/run": "always"}, JOB).errors


# -- options --------------------------------------------------------------------------------------------------------


def test_sync_options() -> None:
    found = option(
        "Prune=false, PruneLast=true,Replace=true,Force=true,SkipDryRunOnMissingResource=true,Delete=confirm"
    )
    assert (found.prune, found.prune_last, found.delete) == (Say.NO, True, Say.CONFIRM)
    assert (found.replace, found.force, found.skip_dry_run, found.anew) == (True, True, True, True)
    assert found.problems == ()


def test_an_option_that_says_what_always_holds_changes_nothing() -> None:
    text = "ServerSideApply=true,ApplyOutOfSyncOnly=true,FailOnSharedResource=true,RespectIgnoreDifferences=true"
    assert option(text) is PLAIN


def test_an_option_that_can_not_be_turned_off_is_a_warning() -> None:
    found = option("ServerSideApply=false")
    place = "metadata.annotations[argocd.argoproj.io/sync-options]"
    assert found.warnings == (f"{place}: ServerSideApply=false has no effect: every object is applied server-side",)


@pytest.mark.parametrize("text", ["prune=false", "NoPrune=true", "PruneLast", "Replace=yes", "Validate=false"])
def test_an_option_that_is_not_known_is_a_warning(text: str) -> None:
    found = option(text)
    assert (len(found.warnings), found.errors) == (1, ())


@pytest.mark.parametrize("text", ["Prune=False", "Prune=no", "Prune", "Prune = false"])
def test_a_misspelt_wish_to_be_kept_is_one(text: str) -> None:
    assert option(text).prune is Say.NO


def test_of_an_option_that_is_there_twice_the_first_counts() -> None:
    found = option("Prune=confirm,Prune=true")
    assert found.prune is Say.CONFIRM
    assert found.warnings


def test_helms_keep_keeps_an_object_from_prune_and_deletion() -> None:
    found = helm(resource_policy="keep")
    assert (found.prune, found.delete) == (Say.NO, Say.NO)


def test_windlass_own_words_go_first() -> None:
    found = directives({"windlass.dev/prune": "true", "argocd.argoproj.io/sync-options": "Prune=false"})
    assert found.prune is Say.YES
    assert directives({"windlass.dev/replace": "true"}).own_replace is True


@pytest.mark.parametrize("key", ["windlass.dev/prune", "windlass.dev/replace"])
def test_windlass_own_words_are_never_guessed_at(key: str) -> None:
    found = directives({key: "yes"})
    assert found.errors
    assert (found.prune is Say.YES, found.own_replace or False) == (False, False)


# -- whatever comes -------------------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        *Phase,
        *DeletePolicy,
        "Never",
        "pre-install",
        "crd-install",
        "test",
        "hook-failed",
        "Prune=false",
        "Delete=x",
        "-3",
    ]
)
letters = st.sampled_from("aPé٣ ,=-1\n\x00")
texts = st.lists(words | st.text(letters, max_size=8), max_size=4).map(",".join) | st.text(letters, max_size=400)


@given(st.dictionaries(st.sampled_from(READ), texts), st.sampled_from(["", JOB, CRD, "Namespace"]))
def test_any_annotations_are_understood_or_told(annotations: dict[str, str], kind: str) -> None:
    found = directives(annotations, kind)
    assert found.phases, "there is always a phase, if only to be skipped"
    assert len(set(found.phases)) == len(found.phases)
    assert found.is_hook or found.phases in ((Phase.SYNC,), (Phase.SKIP,))
    assert found.is_hook or not found.delete_policies
    assert found == directives(dict(reversed(annotations.items())), kind)
    assert all(len(str(problem)) < 300 for problem in found.problems), "no message repeats a long text"
