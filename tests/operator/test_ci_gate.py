"""examples/ci for real: the script and the commands of the templates, with the shipped rights, beside the operator."""

from __future__ import annotations

import hashlib
import http.server
import signal
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from asrtune_api.scores import Score, score_entries
from asrtune_api.termination import TerminationMessage
from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.audit import enable_audit, granted, used
from tools.documents import told
from tools.gate_job import EXAMPLES, Checkout
from tools.in_pod import in_a_pod

NAMESPACE, ACCOUNT = "speech", "asrtune-ci"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own: its API server is restarted to write down what CI asks."""
    with run_cluster(tmp_path_factory.mktemp("ci"), nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def audit(cluster: Cluster) -> Path:
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.api.apply(documents("rbac.yaml"))
    log = enable_audit(cluster, f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
    Operator(cluster, options=["--discovery-seconds", "2"]).start()
    return log


@pytest.fixture
def checkout(cluster: Cluster, audit: Path, tmp_path: Path) -> Iterator[Checkout]:
    """A job, without anything left of the one before.

    Its commit is its own: Kubernetes takes up to half a minute to tidy up behind a name.
    """
    commit = hashlib.sha1(tmp_path.name.encode()).hexdigest()
    job = Checkout(tmp_path, cluster.plane.as_service_account(NAMESPACE, ACCOUNT), commit[:12])
    job.prepare(tmp_path.name[-30:].strip("_").replace("_", "-"))
    yield job
    for one in cluster.api.list("asrevaluations", NAMESPACE):
        cluster.api.delete("asrevaluations", one["metadata"]["name"], NAMESPACE)
    wait_for(lambda: not cluster.api.list("asrevaluations", NAMESPACE), what="an empty namespace")


def documents(file: str) -> list[Json]:
    return list(yaml.safe_load_all((EXAMPLES / file).read_text()))


def scores(calls: float) -> str:
    """What an Evaluate pod would say: the tuned model's rate on the new domain, and the rest of it."""

    def one(name: str, model: str, cer: float, difference: float | None = None, **more: Any) -> Score:
        paired: Json = (
            {}
            if difference is None
            else {
                "difference": str(difference),
                "differenceLow": str(round(difference - 0.5, 2)),
                "differenceHigh": str(round(difference + 0.5, 2)),
            }
        )
        rates = {"cer": str(cer), "low": str(round(cer - 0.4, 2)), "high": str(round(cer + 0.4, 2))}
        return Score.model_validate(
            {"set": name, "model": model, "metric": "CER", "utterances": 412, **rates, **paired, **more}
        )

    rows = [
        one("calls", "base", 12.0, baseline=True),
        one("calls", "tuned", calls, round(calls - 12, 2)),
        one("studio", "base", 4.0, baseline=True, retention=True),
        one("studio", "tuned", 4.1, 0.1, retention=True),
    ]
    return TerminationMessage.done(stage="evaluate", results=score_entries(rows)).encode().decode()


def pods_behave(cluster: Cluster, job: Checkout, **annotations: str) -> None:
    """How the fake pods of the job's evaluations end: in half a second, and as the annotations say."""
    name = yaml.safe_load(job.manifest.read_text())["spec"]["runtimeRef"]["name"]
    known = {"run-for": "500ms", **{key.replace("_", "-"): value for key, value in annotations.items()}}
    cluster.api.apply(
        {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": "ASRRuntime",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"pod": {"annotations": {f"fake/{key}": value for key, value in known.items()}}},
        }
    )


def evaluation(cluster: Cluster, job: Checkout) -> Json | None:
    return cluster.api.find("asrevaluations", f"gate-{job.commit}", NAMESPACE)


def wait_for_evaluation(cluster: Cluster, job: Checkout) -> Json:
    return wait_for(lambda: evaluation(cluster, job), timeout=30, what="the evaluation")


def test_a_good_model_passes(cluster: Cluster, checkout: Checkout) -> None:
    pods_behave(cluster, checkout, **{"evaluate.message": scores(8.1)})
    done = checkout.gate("-n", NAMESPACE, "-s", "summary.md", "ci/evaluation.yaml", checkout.commit)
    assert done.returncode == 0, done.stderr
    text = checkout.summary.read_text()
    assert "**Quality gate passed.**" in text
    assert "| calls | tuned | CER 8.10 % | 7.70 to 8.50 | -3.90 | -4.40 to -3.40 | 412 |" in text
    kept = wait_for_evaluation(cluster, checkout)
    assert kept["spec"]["output"]["uri"] == f"s3://speech/evaluations/{checkout.commit}"
    again = checkout.gate("-n", NAMESPACE, "ci/evaluation.yaml", checkout.commit)
    assert again.returncode == 0
    assert "is there already; waiting for it" in again.stderr
    assert wait_for_evaluation(cluster, checkout)["metadata"]["uid"] == kept["metadata"]["uid"]


def test_a_bad_model_fails_the_job(cluster: Cluster, checkout: Checkout) -> None:
    pods_behave(cluster, checkout, **{"evaluate.message": scores(9.4)})
    done = checkout.gate("-n", NAMESPACE, "-d", "-s", "summary.md", "ci/evaluation.yaml", checkout.commit)
    assert done.returncode == 1, done.stderr
    assert "**Quality gate not passed.**" in checkout.summary.read_text()
    assert "above the limit of 9 %" in checkout.summary.read_text()
    wait_for(lambda: evaluation(cluster, checkout) is None, what="the evaluation's deletion, as -d asks")


def test_a_failed_evaluation_is_told_and_made_anew(cluster: Cluster, checkout: Checkout) -> None:
    wrong = TerminationMessage.model_validate(
        {
            "class": "DataInvalid",
            "reason": "ObjectMissing",
            "message": "s3://speech/lists/calls-test.jsonl is not there.",
        }
    )
    pods_behave(cluster, checkout, exit_code="65", message=wrong.encode().decode())
    done = checkout.gate("-n", NAMESPACE, "-s", "summary.md", "ci/evaluation.yaml", checkout.commit)
    assert done.returncode == 2, done.stderr
    assert "calls-test.jsonl is not there" in checkout.summary.read_text()
    pods_behave(cluster, checkout, **{"evaluate.message": scores(8.1)})
    done = checkout.gate("-n", NAMESPACE, "ci/evaluation.yaml", checkout.commit)
    assert done.returncode == 0, done.stderr
    assert "failed before; it is made anew" in done.stderr


def test_the_time_may_be_over_first(cluster: Cluster, checkout: Checkout) -> None:
    pods_behave(cluster, checkout, run_for="1h")
    done = checkout.gate(
        "-n", NAMESPACE, "-t", "3", "-s", "summary.md", "ci/evaluation.yaml", checkout.commit
    )
    assert done.returncode == 4, done.stderr
    assert evaluation(cluster, checkout) is not None


def test_a_stopped_job_leaves_nothing_that_runs(cluster: Cluster, checkout: Checkout) -> None:
    pods_behave(cluster, checkout, run_for="1h")
    job = checkout.start("sh", "ci/asr-gate.sh", "-n", NAMESPACE, "ci/evaluation.yaml", checkout.commit)
    wait_for_evaluation(cluster, checkout)
    second = checkout.start("sh", "ci/asr-gate.sh", "-n", NAMESPACE, "ci/evaluation.yaml", checkout.commit)
    wait_for(lambda: cluster.api.list("pods", NAMESPACE), what="its pod")
    assert second.stderr is not None
    assert "is there already" in second.stderr.readline()
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 143
    assert evaluation(cluster, checkout) is not None, "what another job made is not the second's to delete"
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 143
    wait_for(lambda: evaluation(cluster, checkout) is None, what="the evaluation's deletion")
    wait_for(lambda: not cluster.api.list("pods", NAMESPACE), timeout=60, what="the end of its pods")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("maxPercent:", "maxPercnt:"), "maxPercnt"),
        (("  baseline: base\n", "  baseline: bsae\n"), "baseline"),
        (("kind: ASREvaluation", "kind: ASREvalution"), "ASREvalution"),
        (("  name: gate-@COMMIT@\n", "  generateName: gate-\n"), "no ASREvaluation with a name"),
        (("apiVersion", "a: [\napiVersion"), "yaml"),
    ],
)
def test_a_bad_manifest_is_told(checkout: Checkout, change: tuple[str, str], words: str) -> None:
    text = checkout.manifest.read_text()
    checkout.manifest.write_text(text.replace(*change))
    done = checkout.gate("-n", NAMESPACE, "-s", "summary.md", "ci/evaluation.yaml", checkout.commit)
    assert done.returncode == 3, done.stdout
    assert words in done.stderr
    assert "    " in checkout.summary.read_text()
    assert words in checkout.summary.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ci/none.yaml", "abc"), "there is no manifest ci/none.yaml"),
        (("ci/evaluation.yaml",), "a manifest and a commit are wanted"),
        (("ci/evaluation.yaml", "Feature/x"), "cannot be part of a name"),
        (("-t", "2h", "ci/evaluation.yaml", "abc"), "whole seconds"),
        (("-n", "elsewhere", "ci/evaluation.yaml", "abc"), "forbidden"),
    ],
)
def test_a_wrong_call_is_told(checkout: Checkout, arguments: tuple[str, ...], words: str) -> None:
    done = checkout.gate(*arguments)
    assert done.returncode == 3
    assert words in done.stderr


def test_the_readmes_kubeconfig_is_ci(cluster: Cluster, checkout: Checkout) -> None:
    [block] = told("examples/ci/README.md", "gate")
    done = checkout.run("bash", "-eo", "pipefail", "-c", block.text, KUBECONFIG=str(cluster.kubeconfig))
    assert done.returncode == 0, done.stderr
    may = {
        what: checkout.run(
            "kubectl", "auth", "can-i", *what.split(), KUBECONFIG="ci.kubeconfig"
        ).stdout.strip()
        for what in ("create asrevaluations", "create asrfinetunes", "get secrets")
    }
    assert list(may.values()) == ["yes", "no", "no"]


def github_steps() -> dict[str, Json]:
    return {one.get("name", ""): one for one in documents("github-actions.yaml")[0]["jobs"]["gate"]["steps"]}


def test_github_actions_commands(cluster: Cluster, checkout: Checkout) -> None:
    """Its own two steps, by the shell and variables that GitHub gives a step; not the set-up of Python."""
    pods_behave(cluster, checkout, **{"evaluate.message": scores(9.4)})
    steps, shell = github_steps(), ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
    runner, environment = {"RUNNER_TEMP": str(checkout.root)}, checkout.root / "environment"
    secret = checkout.kubeconfig.read_text()
    done = checkout.run(
        *shell,
        steps["Let kubectl into the cluster"]["run"],
        **runner,
        TEXT=secret,
        GITHUB_ENV=str(environment),
    )
    assert done.returncode == 0, done.stderr
    given = dict(line.split("=", 1) for line in environment.read_text().splitlines())
    assert (Path(given["KUBECONFIG"]).stat().st_mode & 0o777) == 0o600
    job = {"GITHUB_SHA": checkout.commit + "f" * 28, "GITHUB_STEP_SUMMARY": str(checkout.summary), **given}
    done = checkout.run(*shell, steps["Evaluate"]["run"], **runner, **job)
    assert done.returncode == 1, done.stderr
    assert "**Quality gate not passed.**" in checkout.summary.read_text()


class Notes(http.server.BaseHTTPRequestHandler):
    """A stand-in for GitLab's notes API: a GitLab cannot be had here."""

    posted: list[tuple[str, str | None, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = urllib.parse.parse_qs(body)["body"][0]
        self.posted.append((self.path, self.headers["PRIVATE-TOKEN"], said))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_gitlab_commands(cluster: Cluster, checkout: Checkout) -> None:
    """script and after_script, as GitLab's runner hands them to a shell; the agent's context apart."""
    pods_behave(cluster, checkout, **{"evaluate.message": scores(9.4)})
    job = documents("gitlab-ci.yml")[0]["speech-model"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Notes,), {"posted": []}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given = {
        "CI_COMMIT_SHORT_SHA": checkout.commit[:8],
        "AGENT": "",
        "GATE_TOKEN": "secret",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "12",
        "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
    }
    done = checkout.run("sh", "-ec", "\n".join(job["script"]), **given)
    assert done.returncode == 1, done.stderr
    assert job["artifacts"]["paths"] == ["summary.md"]
    after = checkout.run("sh", "-ec", "\n".join(job["after_script"]), **given)
    assert after.returncode == 0, after.stderr
    server.shutdown()
    [(path, token, said)] = server.RequestHandlerClass.posted  # type: ignore[attr-defined]
    assert (path, token) == ("/api/v4/projects/7/merge_requests/12/notes", "secret")
    assert said == checkout.summary.read_text()


def test_argo_command_with_the_pods_service_account(cluster: Cluster, checkout: Checkout) -> None:
    """The container's command, with the files of a ServiceAccount where a pod has them, and no kubeconfig."""
    pods_behave(cluster, checkout, **{"evaluate.message": scores(8.1)})
    template = documents("argo-workflow.yaml")[-1]["spec"]["templates"][0]
    [place] = [one["valueFrom"]["path"] for one in template["outputs"]["parameters"]]
    command = [
        one.replace(place, "summary.md")
        for one in (*template["container"]["command"], *template["container"]["args"])
    ]
    pod = in_a_pod(checkout.kubeconfig, NAMESPACE, checkout.root / "account")
    given = {"NAMESPACE": NAMESPACE, "COMMIT": checkout.commit, **pod.environment}
    done = checkout.run(*pod.prefix, *command, **given)
    assert done.returncode == 0, done.stderr
    assert "**Quality gate passed.**" in checkout.summary.read_text()
    done = checkout.run(*pod.prefix, "kubectl-asrtune", "wait", f"evaluation/gate-{checkout.commit}", **given)
    assert done.returncode == 0, done.stderr


def test_ci_has_the_rights_that_it_uses_and_no_others(audit: Path) -> None:
    """After all of the above."""
    asked = {right for right in used(audit) if right.group != "authorization.k8s.io"}
    assert asked == granted(documents("rbac.yaml"))
