"""Pods on the node of the embedded Kubernetes do what pods do on any other."""

import contextlib
import functools
import itertools
import json
import time

import pytest

from prompt_operator.cluster.node.images import Entry, Image, write
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.node
IMAGE = "localhost/busybox:1"


def container(*command: str, **more) -> dict:
    return {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": list(command), **more}


def pod(name: str, *command: str, volumes=(), **more) -> dict:
    spec = {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never"}
    spec |= {"containers": [container(*command, **more)], "volumes": list(volumes)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def job(name: str, *command: str, **more) -> dict:
    template = {"spec": {"restartPolicy": "Never", "containers": [container(*command, **more)]}}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def config_map(text: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prompt"}, "data": {"prompt.txt": text}}


def is_ready(found) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found.get("status", {}).get("conditions", []))


def has_condition(kind):
    return lambda found: any(
        c["type"] == kind and c["status"] == "True" for c in found.get("status", {}).get("conditions", [])
    )


def terminated(found) -> dict:
    [status] = found["status"]["containerStatuses"]
    return status["state"]["terminated"]


def test_a_change_of_a_configmap_reaches_the_pod_once_its_annotation_is_patched(node_user):
    volume = {"name": "prompt", "configMap": {"name": "prompt"}}
    mount = {"name": "prompt", "mountPath": "/prompt"}
    node_user.apply(config_map("first"))
    node_user.create(pod("reader", "sleep", "3600", volumes=[volume], volumeMounts=[mount]))
    node_user.wait("pod", "reader", is_ready, "the pod is ready")

    def read() -> str:
        return node_user.kubectl("exec", "reader", "--", "cat", "/prompt/prompt.txt")

    assert read() == "first"

    def nudged(wanted: str) -> bool:
        # Again if it was in vain: the kubelet may look before its own watch has told it of the change.
        node_user.kubectl("annotate", "pod", "reader", f"nudge={next(numbers)}", "--overwrite")
        with contextlib.suppress(AssertionError):
            eventually(lambda: read() == wanted, within=3)
        return read() == wanted

    numbers = itertools.count()
    began = time.monotonic()
    for number in range(8):
        wanted = f"change {number}"
        node_user.apply(config_map(wanted))
        eventually(functools.partial(nudged, wanted), what=f"the pod sees {wanted}")
    # Of its own accord the kubelet would look twice or three times in this time, not eight times.
    assert time.monotonic() - began < 2 * DEADLINE


def test_a_job_completes_and_says_what_it_found(node_user):
    said = json.dumps({"passed": 12})
    node_user.create(job("good", "sh", "-c", f"echo working; printf '%s' '{said}' > /dev/termination-log"))
    node_user.wait("job", "good", has_condition("Complete"), "the job is complete")
    [made] = node_user.listed("pods", "-l", "job-name=good")
    assert terminated(made)["exitCode"] == 0
    assert json.loads(terminated(made)["message"]) == {"passed": 12}
    assert node_user.kubectl("logs", "job/good") == "working\n"


def test_a_job_whose_command_fails_is_failed(node_user):
    node_user.create(job("bad", "sh", "-c", "exit 3"))
    node_user.wait("job", "bad", has_condition("Failed"), "the job has failed")
    [made] = node_user.listed("pods", "-l", "job-name=bad")
    assert terminated(made)["exitCode"] == 3


def test_a_job_whose_image_is_missing_does_not_start(node_user):
    node_user.create(job("absent", "true", image="localhost/nowhere:1"))

    def reasons() -> set[str]:
        statuses = [s for p in node_user.listed("pods") for s in p["status"].get("containerStatuses", [])]
        return {s["state"].get("waiting", {}).get("reason") for s in statuses}

    eventually(lambda: reasons() == {"ErrImageNeverPull"}, what="the kubelet says that the image is missing")
    assert node_user.get("job", "absent")["status"].get("succeeded", 0) == 0


def test_a_job_that_asks_for_too_much_time_is_ended(node_user):
    slow = job("slow", "sleep", "3600")
    slow["spec"]["activeDeadlineSeconds"] = 2
    slow["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    node_user.create(slow)
    failed = node_user.wait("job", "slow", has_condition("Failed"), "the job has failed")
    assert [c["reason"] for c in failed["status"]["conditions"] if c["type"] == "Failed"] == ["DeadlineExceeded"]


def test_a_pod_has_the_token_of_its_service_account_and_nobody_elses(node_user):
    node_user.create(pod("known", "sleep", "3600"))
    node_user.wait("pod", "known", is_ready, "the pod is ready")
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    token = node_user.kubectl("exec", "known", "--", "cat", f"{where}/token")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    told = node_user.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review))
    user = json.loads(told)["status"]["user"]
    assert user["username"] == f"system:serviceaccount:{node_user.namespace}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["known"]
    assert node_user.kubectl("exec", "known", "--", "cat", f"{where}/namespace") == node_user.namespace


def test_who_is_not_root_reads_what_is_mounted(node_user):
    node_user.apply(config_map("for all"))
    volume = {"name": "prompt", "configMap": {"name": "prompt"}}
    mount = {"name": "prompt", "mountPath": "/prompt"}
    security = {"runAsUser": 1000, "runAsNonRoot": True, "readOnlyRootFilesystem": True}
    command = ["sh", "-c", "id -u; cat /prompt/prompt.txt"]
    node_user.create(pod("modest", *command, volumes=[volume], volumeMounts=[mount], securityContext=security))
    node_user.wait("pod", "modest", lambda p: p.get("status", {}).get("phase") == "Succeeded", "the pod has succeeded")
    assert node_user.kubectl("logs", "modest") == "1000\nfor all"


def test_a_pod_that_takes_too_much_memory_is_ended_and_says_so(node_user):
    greedy = pod("greedy", "sh", "-c", "tail /dev/zero", resources={"limits": {"memory": "20Mi", "cpu": "500m"}})
    node_user.create(greedy)
    failed = node_user.wait("pod", "greedy", lambda p: p.get("status", {}).get("phase") == "Failed", "the pod failed")
    assert terminated(failed)["reason"] == "OOMKilled"


def test_pods_reach_each_other_and_this_machine_but_nothing_behind_it(node_cluster, node_user):
    node_user.create(pod("server", "sh", "-c", "mkdir -p /tmp/www && echo hi > /tmp/www/index && httpd -f -h /tmp/www"))
    address = node_user.wait("pod", "server", is_ready, "the pod is ready")["status"]["podIP"]
    node_user.create(pod("client", "wget", "-q", "-O", "-", f"http://{address}/index"))
    node_user.wait("pod", "client", lambda p: p.get("status", {}).get("phase") == "Succeeded", "the pod was served")
    assert node_user.kubectl("logs", "client") == "hi\n"
    node_user.create(pod("lost", "ping", "-c", "1", "-W", "1", "192.0.2.1"))
    node_user.wait("pod", "lost", lambda p: p.get("status", {}).get("phase") == "Failed", "the pod got no answer")


def test_an_image_of_ones_own_can_be_loaded(node_cluster, node_user, tmp_path):
    note = tmp_path / "note"
    note.write_text("from the image", encoding="utf-8")
    busybox = node_cluster.busybox
    image = Image(
        "localhost/mine:1",
        [Entry(busybox, "bin/busybox"), Entry(note, "note")],
        entrypoint=["/bin/busybox", "cat"],
        command=["/note"],
    )
    write(image, tmp_path / "mine.tar")
    node_cluster.load_image(tmp_path / "mine.tar")
    node_cluster.load_image(tmp_path / "mine.tar", "localhost/other:2")
    for number, name in enumerate(["localhost/mine:1", "localhost/other:2"]):
        mine = pod(f"mine-{number}")
        mine["spec"]["containers"][0] = {"name": "main", "image": name, "imagePullPolicy": "Never"}
        node_user.create(mine)
        done = lambda p: p.get("status", {}).get("phase") == "Succeeded"  # noqa: E731
        node_user.wait("pod", f"mine-{number}", done, "the pod has succeeded")
        assert node_user.kubectl("logs", f"mine-{number}") == "from the image"
