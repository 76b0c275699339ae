"""The store: the newest version wins, lists heal, and every change names the runs that it concerns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.follow.resync import keep
from asrtune_operator.state.objects import Kept
from asrtune_operator.state.store import Store
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, EVALUATIONS, FINETUNES, PODS, RUNTIMES
from tools.objects import custom_resource, job, metadata, pod

JOBS = next(one.resource for one in BACKENDS.values() if one.resource.kind == "Job")


def run(**given: object) -> Kept:
    return keep(FINETUNES, custom_resource({}, **given))  # type: ignore[arg-type]


def test_the_newest_version_wins_whoever_brings_it() -> None:
    store = Store()
    assert store.put(FINETUNES, run(version=7)) == {"run-1"}
    assert store.put(FINETUNES, run(version=5)) == set()
    found = store.run("run-1")
    assert found is not None
    assert found.version == "7"


def test_children_are_filed_by_their_run() -> None:
    store = Store()
    store.put(FINETUNES, run())
    assert store.put(JOBS, keep(JOBS, job("run-1"))) == {"run-1"}
    assert store.put(PODS, keep(PODS, pod("run-1"))) == {"run-1"}
    assert [one.name for one in store.workloads("run-1")] == ["demo-train-1"]
    assert [one.name for one in store.pods("run-1")] == ["demo-train-1-0"]
    assert store.drop(PODS, "pod-1") == {"run-1"}
    assert store.pods("run-1") == []
    assert store.drop(PODS, "pod-1") == set()


def test_the_last_words_of_deleted_pods_are_kept_until_their_run_is_gone() -> None:
    store = Store()
    store.put(FINETUNES, run())
    for uid, phase in (("pod-1", "Running"), ("pod-2", "Failed")):
        store.put(PODS, keep(PODS, pod("run-1", uid=uid, phase=phase)))
        store.drop(PODS, uid)
    assert [(one.uid, one.phase) for one in store.gone("run-1")] == [("pod-2", "Failed")]
    assert store.pods("run-1") == []
    store.drop(FINETUNES, "run-1")
    assert store.gone("run-1") == []


def test_the_news_that_a_pod_is_gone_may_be_the_first_of_its_end() -> None:
    store = Store()
    store.put(FINETUNES, run())
    store.put(PODS, keep(PODS, pod("run-1", phase="Running")))
    assert store.bury(PODS, keep(PODS, pod("run-1", phase="Failed"))) == {"run-1"}
    assert [(one.uid, one.phase) for one in store.gone("run-1")] == [("pod-1", "Failed")]
    assert store.pods("run-1") == []


def test_a_pod_with_a_runs_label_in_another_namespace_is_none_of_its() -> None:
    store = Store()
    store.put(FINETUNES, run())
    store.put(PODS, keep(PODS, pod("run-1", namespace="elsewhere")))
    assert store.pods("run-1") == []


def test_a_list_heals_a_missed_deletion() -> None:
    store = Store()
    store.put(FINETUNES, run())
    store.put(PODS, keep(PODS, pod("run-1")))
    assert store.replace(PODS, [], store.clock()) == {"run-1"}
    assert not store.has_children("run-1")


def test_a_list_heals_a_missed_change_even_to_an_older_version() -> None:
    """An API server restored from a backup counts from before."""
    store = Store()
    store.put(FINETUNES, run(version=90))
    assert store.replace(FINETUNES, [run(version=20)], store.clock()) == {"run-1"}
    found = store.run("run-1")
    assert found is not None
    assert found.version == "20"


def test_a_list_does_not_undo_what_came_while_it_was_made() -> None:
    store = Store()
    store.put(FINETUNES, run())
    since = store.clock()
    store.put(JOBS, keep(JOBS, job("run-1")))  # made by us after the list began
    assert store.replace(JOBS, [], since) == set()
    assert len(store.workloads("run-1")) == 1


def test_a_list_that_says_nothing_new_concerns_nobody() -> None:
    store = Store()
    store.put(FINETUNES, run(version=3))
    assert store.replace(FINETUNES, [run(version=3)], store.clock()) == set()


def test_workloads_of_a_deleted_namesake_are_former_until_they_are_gone() -> None:
    store = Store()
    store.put(JOBS, keep(JOBS, job("run-0")))
    store.put(FINETUNES, run(uid="run-1"))
    now = store.run("run-1")
    assert now is not None
    assert store.former(now) == ["demo-train-1"]
    assert store.drop(JOBS, "job-1") == {"run-0", "run-1"}  # the new run is looked at, too
    assert store.former(now) == []


def test_ended_pods_of_a_deleted_namesake_are_in_nobodys_way() -> None:
    store = Store()
    store.put(FINETUNES, run(uid="run-1"))
    now = store.run("run-1")
    assert now is not None
    store.put(PODS, keep(PODS, pod("run-0", phase="Running")))
    assert store.former(now) == ["demo-train-1-0"]
    store.put(PODS, keep(PODS, pod("run-0", phase="Succeeded", version=2)))
    assert store.former(now) == []


def test_own_children_are_never_former() -> None:
    store = Store()
    store.put(FINETUNES, run())
    store.put(JOBS, keep(JOBS, job("run-1")))
    now = store.run("run-1")
    assert now is not None
    assert store.former(now) == []


def test_a_finetune_concerns_the_evaluations_beside_it() -> None:
    store = Store()
    store.put(EVALUATIONS, keep(EVALUATIONS, custom_resource({}, kind="ASREvaluation", uid="eval", name="e")))
    other = custom_resource({}, kind="ASREvaluation", uid="far", name="e", namespace="elsewhere")
    store.put(EVALUATIONS, keep(EVALUATIONS, other))
    assert store.put(FINETUNES, run()) == {"run-1", "eval"}


def test_a_runtime_concerns_the_runs_that_may_use_it() -> None:
    store = Store()
    store.put(FINETUNES, run())
    store.put(FINETUNES, run(uid="run-2", namespace="elsewhere"))
    own = {"kind": "ASRRuntime", "metadata": metadata("gpu", "rt-1", 1), "spec": {}}
    shared = {
        "kind": "ClusterASRRuntime",
        "metadata": {**metadata("gpu", "rt-2", 1), "namespace": ""},
        "spec": {},
    }
    assert store.put(RUNTIMES, keep(RUNTIMES, own)) == {"run-1"}
    assert store.put(CLUSTER_RUNTIMES, keep(CLUSTER_RUNTIMES, shared)) == {"run-1", "run-2"}
    assert store.runtime("ASRRuntime", "elsewhere", "gpu") is None
    found = store.runtime("ClusterASRRuntime", "elsewhere", "gpu")
    assert found is not None
    assert found.kind == "ClusterASRRuntime"
    assert store.drop(RUNTIMES, "rt-1") == {"run-1"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "drop", "list"]), st.sampled_from(["pod-1", "pod-2"]), st.integers(1, 9)
        ),
        max_size=30,
    )
)
def test_after_any_history_a_list_is_the_whole_truth(history: list[tuple[str, str, int]]) -> None:
    store = Store()
    store.put(FINETUNES, run())
    for what, uid, version in history:
        one = keep(PODS, pod("run-1", uid=uid, version=version))
        if what == "put":
            store.put(PODS, one)
        elif what == "drop":
            store.drop(PODS, uid)
        else:
            store.replace(PODS, [one], store.clock())
    store.replace(PODS, [keep(PODS, pod("run-1", uid="pod-3"))], store.clock())
    assert [one.uid for one in store.pods("run-1")] == ["pod-3"]
