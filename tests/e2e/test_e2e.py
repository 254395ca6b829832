"""From `helm install` to `helm uninstall` on a real cluster, under load. The tests build on each other, in this order."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from node import Images
from release import ACCOUNTS, Load, Release, until
from rich.console import Console
from rich.table import Table

from posting import jpeg, soon
from socialsync_common.contracts import Platform

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(900)]

Figures = dict[str, Any]


def show(release: Release, stage: str) -> None:
    sys.__stderr__.write(f"\n== {stage}\n{release.kubectl('get', 'ssq')}")


# --- the images


@pytest.mark.parametrize(
    ("service", "absent"),
    [
        ("gateway", {"kopf", "kubernetes", "flower", "typer"}),
        ("ingest", {"kopf", "kubernetes", "fastapi", "flower"}),
        ("scheduler", {"kopf", "fastapi", "flower"}),
        ("comments", {"kopf", "kubernetes", "fastapi", "flower"}),
        ("operator", {"fastapi", "flower"}),
        ("flower", {"kopf", "kubernetes", "fastapi"}),
    ],
)
def test_an_image_holds_its_own_service_and_no_tools(
    images: Images, figures: Figures, service: str, absent: set[str]
) -> None:
    name = f"ghcr.io/socialsync/{service}:0.1.0"
    figures.setdefault("image_mib", {})[service] = round(images.size(name) / 2**20)
    with images.mounted(name) as root:
        (packages,) = root.glob("app/.venv/lib/python3*/site-packages")
        installed = {each.name for each in packages.iterdir()}
        ours = {each for each in installed if each.startswith("socialsync_") and "-" not in each}
        assert ours == {"socialsync_common", f"socialsync_{service}"}
        assert not absent & installed
        for tool in ("opt/uv", "usr/bin/gcc", "root/.bash_history", "root/.cache/uv", "build"):
            assert not (root / tool).exists(), tool
    assert images.configuration(name)["User"] == "65532:65532"


# --- install


def test_from_helm_install_to_the_first_answer(release: Release, figures: Figures) -> None:
    started = time.monotonic()
    release.install()
    until(
        lambda: len(release.ready_pods("app.kubernetes.io/component=gateway")) == 2, 180, "the gateway is up"
    )
    release.connect_accounts()
    release.say("491700000001", "When do you open?")
    until(lambda: release.answers().get("491700000001"), 120, "the first answer")
    figures["install_to_first_answer_s"] = round(time.monotonic() - started, 1)
    until(lambda: _all_ready(release), 120, "all queues are ready")
    for component in ("operator", "beat"):
        selector = f"app.kubernetes.io/component={component}"
        until(lambda which=selector: len(release.ready_pods(which)) == 2, 60, f"{component} is up")
    show(release, "installed")


def _all_ready(release: Release) -> bool:
    queues = release.get("ssq")
    ready = [
        each["status"] == "True"
        for queue in queues
        for each in queue.get("status", {}).get("conditions", ())
        if each["type"] == "Ready"
    ]
    return len(queues) == 4 and len(ready) == 4 and all(ready)


def _seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def test_helm_s_own_test_passes(release: Release) -> None:
    release.run_helm("test", release.name, "--timeout", "3m")


def test_three_platforms_are_answered_once(release: Release) -> None:
    contacts = {platform: f"49170000010{number}" for number, platform in enumerate(ACCOUNTS)}
    for platform, contact in contacts.items():
        release.say(contact, "Do you deliver on Sundays?", platform)
        release.say(contact, "And when?", platform)
    until(lambda: all(release.answers().get(each) for each in contacts.values()), 60, "all answered")
    assert {release.answers()[each] for each in contacts.values()} == {1}


def test_a_post_goes_out_on_time(release: Release, figures: Figures) -> None:
    media = release.api("POST", "/media", content=jpeg(), headers={"Content-Type": "image/jpeg"})
    accounts = release.api("GET", "/accounts")["items"]
    instagram = [one["id"] for one in accounts if one["platform"] == Platform.INSTAGRAM]
    due = soon(8)
    post = release.api(
        "POST", "/posts", headers={"Idempotency-Key": "e2e"},
        json={"kind": "image", "text": "Rye bread", "media": [{"id": media["id"]}], "accounts": instagram,
              "first_comment": "Who comes?", "due_at": due.isoformat(), "zone": "UTC"},
    )  # fmt: skip
    until(lambda: release.api("GET", f"/posts/{post['id']}")["status"] == "published", 60, "it is published")
    (live,) = release.sandbox("GET", "/sandbox/posts")
    assert live["text"] == "Rye bread"
    assert live["media"][0]["sha256"] == media["sha256"]
    figures["post_late_s"] = round(live["at"] - due.timestamp(), 3)
    assert 0 <= live["at"] - due.timestamp() < 5
    until(lambda: release.sandbox("GET", "/sandbox/posts")[0]["comments"], 30, "its first comment")


# --- scaling


def test_a_burst_scales_out_and_idle_workers_go(release: Release, figures: Figures) -> None:
    release.sandbox("PUT", "/sandbox/model", json={"delay_seconds": 4.0})
    before = set(release.ready_pods("socialsync.ai/queue=ingest"))
    sent = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        for number in range(200):
            pool.submit(release.say, f"49171{number:05}", "When do you open?")
        until(lambda: release.replicas() > 1, 60, "more replicas are asked for")
        figures["first_message_to_replicas_s"] = round(time.monotonic() - sent, 1)
        until(
            lambda: set(release.ready_pods("socialsync.ai/queue=ingest")) - before, 90, "a new pod is ready"
        )
        figures["first_message_to_new_pod_s"] = round(time.monotonic() - sent, 1)
    show(release, "burst")
    until(
        lambda: release.queue()["status"]["depth"] + release.queue()["status"]["inFlight"] == 0,
        180,
        "drained",
    )
    release.sandbox("PUT", "/sandbox/model", json={"delay_seconds": 0.0})
    with release.following("socialsync.ai/queue=ingest") as read:
        until(lambda: release.replicas() == 1, 180, "idle workers are gone")
        until(
            lambda: len(release.get("pods", "-l", "socialsync.ai/queue=ingest")) == 1, 120, "their pods too"
        )
        logs = read()
    show(release, "idle again")
    (left,) = release.ready_pods("socialsync.ai/queue=ingest")
    ended = {pod: text for pod, text in logs.items() if pod != left}
    assert ended
    for pod, text in ended.items():
        before_the_end, _, after = text.partition("hutdown (MainProcess)")
        assert "worker.cordoned" in before_the_end, pod
        assert after, f"{pod} did not say that it ended"
        assert "batch done" not in after, f"{pod} was told to stop amid its work"
    answers = release.answers()
    burst = [count for contact, count in answers.items() if contact.startswith("49171")]
    assert len(burst) == 200
    assert set(burst) == {1}


@pytest.mark.parametrize("component", ["gateway", "worker", "operator", "beat"])
def test_a_pod_starts_soon_after_its_container(release: Release, figures: Figures, component: str) -> None:
    selector = f"app.kubernetes.io/component={component}"
    if component == "worker":
        selector += ",socialsync.ai/queue=ingest"
    before = release.ready_pods(selector)
    release.kubectl("delete", "pod", before[0], "--wait=false")
    new = until(lambda: set(release.ready_pods(selector)) - set(before), 60, "its successor is ready").pop()
    (pod,) = (each for each in release.pods(selector) if each["metadata"]["name"] == new)
    ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    # the cluster tells whole seconds
    seconds = _seconds(ready["lastTransitionTime"]) - _seconds(started)
    figures.setdefault("cold_start_s", {})[component] = seconds
    assert seconds < 30


def test_how_much_memory_idle_pods_take(release: Release, figures: Figures) -> None:
    (node, *_) = release.get("nodes")
    raw = release.kubectl("get", "--raw", f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
    taken: dict[str, int] = {}
    for pod in json.loads(raw)["pods"]:
        if pod["podRef"]["namespace"] == release.namespace and "memory" in pod:
            name = "-".join(pod["podRef"]["name"].split("-")[:2])
            taken[name] = max(taken.get(name, 0), round(pod["memory"]["workingSetBytes"] / 2**20))
    figures["idle_mib"] = taken
    assert taken


# --- upgrade and rollback under load


def test_an_upgrade_under_load_loses_nothing(release: Release, figures: Figures) -> None:
    with Load(release, "49172") as load:
        release.upgrade("--set", "config.LOG_LEVEL=DEBUG")
    figures["upgrade"] = load.outcome()
    show(release, "upgraded")
    _assert_sound(figures["upgrade"])
    assert figures["upgrade"]["not_200_at_once"] == 0


def test_a_rollback_under_load_loses_nothing(release: Release, figures: Figures) -> None:
    with Load(release, "49173") as load:
        release.run_helm("rollback", release.name, "1", "--wait", "--timeout", "5m")
    figures["rollback"] = load.outcome()
    _assert_sound(figures["rollback"])
    assert figures["rollback"]["not_200_at_once"] == 0


def test_a_failed_migration_stops_the_upgrade_before_any_new_pod(release: Release) -> None:
    before = release.ready_pods("app.kubernetes.io/component=gateway")
    told = release.upgrade("--set", "postgresql.existingSecret=absent", "--timeout", "20s", check=False)
    assert "failed" in told
    assert release.ready_pods("app.kubernetes.io/component=gateway") == before
    release.run_helm("rollback", release.name, "--wait", "--timeout", "3m")


# --- any one pod


def _one(release: Release, selector: str) -> str:
    return release.ready_pods(selector)[0]


VICTIMS: dict[str, Callable[[Release], str]] = {
    "gateway": lambda release: _one(release, "app.kubernetes.io/component=gateway"),
    "beat leader": lambda release: release.lease_holder("socialsync-beat"),
    "operator leader": lambda release: release.lease_holder("socialsync-operator"),
    "worker mid-reply": lambda release: _one(release, "socialsync.ai/queue=ingest"),
    "redis": lambda release: f"{release.name}-redis-0",
    "postgres": lambda release: f"{release.name}-postgresql-0",
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_any_one_pod_may_go(release: Release, figures: Figures, victim: str) -> None:
    with Load(release, f"4918{list(VICTIMS).index(victim)}") as load:
        until(lambda: len(load.sent) > 4, 30, "load")
        pod = VICTIMS[victim](release)
        before = _uids(release)[pod]
        # as good as a kill, and yet never two of a stateful one at a time, as --force would have it
        release.kubectl("delete", "pod", pod, "--wait=false", "--grace-period=1")
        until(lambda: _uids(release).get(pod) != before, 60, "it is gone")
        until(lambda: _all_ready(release), 120, "all is well again")
        until(lambda: len(load.sent) > 20, 30, "load goes on")
    outcome = load.outcome(120)
    figures.setdefault("pods", {})[victim] = outcome
    _assert_sound(outcome)


def _uids(release: Release) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in release.get("pods")}


def _assert_sound(outcome: dict[str, int]) -> None:
    assert outcome["lost"] == 0
    assert outcome["doubled"] == 0
    assert outcome["answered"] + outcome["to_a_person"] == outcome["sent"] > 0
    assert outcome["to_a_person"] <= 2


def test_the_table(figures: Figures) -> None:
    """For those who look."""
    drills = {name: figures[name] for name in ("upgrade", "rollback")} | figures["pods"]
    columns = list(next(iter(drills.values())))
    table = Table("drill", *columns)
    for name, outcome in drills.items():
        table.add_row(name, *(str(outcome[column]) for column in columns))
    Console(file=sys.__stderr__, width=120).print(table)
    assert sum(outcome["lost"] + outcome["doubled"] for outcome in drills.values()) == 0


# --- uninstall


def _left(release: Release) -> list[str]:
    names = [pod["metadata"]["name"] for pod in release.pods(f"app.kubernetes.io/instance={release.name}")]
    assert not names, names  # shown, should it not come true
    return names


def test_uninstall_leaves_nothing_but_what_is_kept(release: Release) -> None:
    show(release, "before uninstall")
    release.run_helm("uninstall", release.name, "--wait", "--timeout", "5m")
    until(lambda: _left(release) == [], 60, "no pod is left")
    left = release.kubectl(
        "get", "deploy,sts,job,svc,ssq,role,rolebinding,hpa,pdb,cm", "-l", f"app.kubernetes.io/instance={release.name}",
        "-o", "name",
    ).split()  # fmt: skip
    assert left == []
    kept = json.loads(release.kubectl("get", "secret", "-o", "json"))["items"]
    assert {each["metadata"]["name"] for each in kept} == {release.name, f"{release.name}-postgresql"}
    assert "socialsyncqueues.socialsync.ai" in release.kubectl("get", "crd", "-o", "name")
