"""A real Kubernetes node on a bare Linux machine: containerd, kubelet, kube-proxy and CoreDNS beside the control plane.

Needs root, Go and apt; no Docker and no image registry. ``python tests/e2e/node.py`` installs and builds what is
missing, once. Images are built with buildah and handed to the node; public base images, which a machine without a
registry cannot pull, are stood in for under their own names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from rich.console import Console

from control_plane import NODE, ControlPlane, build, cache
from socialsync_cli.waiting import wait_until
from socialsync_common.kubernetes_api import ApiError, ApiUnavailable

PACKAGES = (
    *("containerd", "runc", "buildah", "containernetworking-plugins", "iptables", "conntrack", "socat"),
    *("ethtool", "iproute2", "debootstrap", "gcc", "libc6-dev"),
)
NAME = "node0"
GATEWAY = "10.244.0.1"  # of the pods' bridge, and the node's own address: pods reach the API server on it
BRIDGE = "cni0"
PAUSE_IMAGE = "localhost/pause:1"
BASE_IMAGE = "python:3.11-slim-bookworm"
# settings of this machine's package managers, for builds; absent ones are skipped
BUILD_MOUNTS = ("/etc/pip.conf", "/etc/ssl/certs", "/etc/apt")

_PAUSE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }
"""

console = Console(stderr=True)


def prepare() -> None:
    """Install and build what is missing."""
    if os.geteuid() != 0:
        console.print("node: needs root; the tests that need one are skipped")
        return
    if any(
        shutil.which(name) is None
        for name in ("containerd", "buildah", "debootstrap", "iptables", "conntrack")
    ):
        with console.status("installing containerd, buildah and the like"):
            _run("apt-get", "update", "-qq")
            _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES)
    build(NODE)


class Images:
    """Built by buildah under a folder of their own, kept between runs."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._buildah = (
            *("buildah", "--storage-driver", "overlay"),
            *("--root", str(directory / "images"), "--runroot", str(directory / "run")),
        )

    def ensure_base(self, name: str = BASE_IMAGE) -> None:
        """Debian with its own Python, under the public image's name, so that a Dockerfile builds unchanged."""
        if self._have(name):
            return
        root = self._directory / "rootfs-python"
        if not root.exists():
            with console.status("unpacking Debian for the base image"):
                scratch = self._directory / "rootfs.tmp"
                shutil.rmtree(scratch, ignore_errors=True)
                include = "--include=python3,python3-venv,ca-certificates"
                _run("debootstrap", "--variant=minbase", include, "bookworm", str(scratch))
                # as slim as the image that it stands in for
                for heavy in (
                    "var/cache/apt",
                    "var/lib/apt/lists",
                    "usr/share/doc",
                    "usr/share/locale",
                    "usr/share/man",
                ):
                    shutil.rmtree(scratch / heavy)
                (scratch / "var/lib/apt/lists/partial").mkdir(parents=True)
                (scratch / "var/cache/apt/archives/partial").mkdir(parents=True)
                scratch.rename(root)
        container = self._do("from", "scratch").strip()
        mounted = self._do("mount", container).strip()
        _run("cp", "-a", f"{root}/.", mounted)
        self._do("umount", container)
        self._do("commit", "--quiet", container, name)
        self._do("rm", container)

    def ensure_pause(self) -> None:
        """The process that holds a pod's namespaces."""
        if self._have(PAUSE_IMAGE):
            return
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch)
            (source / "pause.c").write_text(_PAUSE)
            _run("gcc", "-static", "-O2", "-o", f"{source}/pause", f"{source}/pause.c")
            (source / "Dockerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
            self.build(PAUSE_IMAGE, source)

    def build(self, name: str, context: Path, *, dockerfile: Path | None = None, **arguments: str) -> None:
        """Build one image, with this machine's package settings."""
        mounts = [
            part for path in BUILD_MOUNTS if Path(path).exists() for part in ("-v", f"{path}:{path}:ro")
        ]
        given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        file = ["-f", str(dockerfile)] if dockerfile else []
        self._do(
            "bud", "--isolation", "chroot", "--pull-never", "--layers", *mounts, *file, *given, "-t", name, str(context)
        )  # fmt: skip

    def export(self, name: str, file: Path) -> None:
        self._do("push", "--quiet", name, f"docker-archive:{file}:{name}")

    def size(self, name: str) -> int:
        """Bytes, unpacked."""
        with self.mounted(name) as root:
            return int(_run("du", "-sxb", str(root)).split()[0])

    def configuration(self, name: str) -> dict[str, Any]:
        """The image's own: user, environment, labels."""
        inspected = json.loads(self._do("inspect", "--type", "image", name))
        found: dict[str, Any] = inspected["OCIv1"]["config"]
        return found

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """The image's file system, to look into."""
        container = self._do("from", "--pull-never", name).strip()
        try:
            yield Path(self._do("mount", container).strip())
        finally:
            self._do("umount", container)
            self._do("rm", container)

    def _have(self, name: str) -> bool:
        done = subprocess.run(
            [*self._buildah, "inspect", "--type", "image", name], capture_output=True, check=False
        )
        return done.returncode == 0

    def _do(self, *arguments: str) -> str:
        return _run(*self._buildah, *arguments)


class Node(ControlPlane):
    """Started by ``with``. About ten seconds to a node that is ready."""

    address: ClassVar[str] = GATEWAY
    controllers: ClassVar[Sequence[str]] = ("*",)

    @property
    def socket(self) -> Path:
        return self.directory / "containerd.sock"

    def __enter__(self) -> Self:
        images = Images(cache() / "node")
        images.ensure_pause()
        self._set_up_bridge()
        self._write_configuration()
        self._start("containerd", "--config", str(self.directory / "containerd.toml"))
        wait_until(self._containerd_answers, 30, "containerd")
        self.load(images, PAUSE_IMAGE)
        super().__enter__()
        self._certificates.issue("kubelet", NAME, server=True)
        self._start(
            "kubelet",
            *(f"--config={self.directory}/kubelet.json", f"--kubeconfig={self.kubeconfig}"),
            *(f"--hostname-override={NAME}", f"--node-ip={GATEWAY}", f"--root-dir={self.directory}/kubelet"),
        )
        self._start(
            "kube-proxy",
            *(
                f"--kubeconfig={self.kubeconfig}",
                f"--hostname-override={NAME}",
                "--cluster-cidr=10.244.0.0/24",
            ),
            *(
                "--proxy-mode=iptables",
                "--conntrack-max-per-core=0",
                "--healthz-bind-address=",
                "--metrics-bind-address=",
            ),
        )
        self._start("coredns", "-conf", str(self.directory / "Corefile"))
        wait_until(self._node_is_ready, 60, f"{NAME} to be ready")
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("kube-proxy", "kubelet"):
            self.stop(name)
        for task in self._ctr("tasks", "ls", "-q").split():
            subprocess.run(
                [*self._ctr_command, "tasks", "kill", "-s", "KILL", task], capture_output=True, check=False
            )
        super().__exit__()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            mounted = line.split()[1]
            if mounted.startswith(f"{self.directory}/"):
                subprocess.run(["umount", "-l", mounted], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)
        rules = [line for line in _run("iptables-save").splitlines() if not _is_ours(line)]
        subprocess.run(["iptables-restore"], input="\n".join(rules) + "\n", text=True, check=False)

    def apiserver_options(self) -> Sequence[str]:
        here = self.directory
        return (
            *(f"--kubelet-client-certificate={here}/admin.crt", f"--kubelet-client-key={here}/admin.key"),
            *(
                f"--kubelet-certificate-authority={here}/ca.crt",
                "--kubelet-preferred-address-types=InternalIP",
            ),
            "--allow-privileged",
        )

    def load(self, images: Images, name: str) -> None:
        """Hand an image to the node."""
        file = self.directory / "image.tar"
        images.export(name, file)
        self._ctr("images", "import", str(file))
        file.unlink()

    def provide_volume(self, size: str, owner: int) -> None:
        """A volume of the storage class ``node``, on this machine's disk."""
        place = self.directory / "volume"
        place.mkdir()
        os.chown(place, owner, owner)
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "node",
            "hostPath": {"path": str(place), "type": "Directory"},
        }
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "node-1"},
            "spec": spec,
        }
        self.api.request("POST", "/api/v1/persistentvolumes", volume)

    @property
    def _ctr_command(self) -> tuple[str, ...]:
        return ("ctr", "-a", str(self.socket), "-n", "k8s.io")

    def _ctr(self, *arguments: str) -> str:
        return _run(*self._ctr_command, *arguments)

    def _containerd_answers(self) -> bool:
        done = subprocess.run(["ctr", "-a", self.socket, "version"], capture_output=True, check=False)
        return done.returncode == 0

    def _node_is_ready(self) -> bool:
        try:
            status = self.api.get(f"/api/v1/nodes/{NAME}")["status"]
        except (ApiError, ApiUnavailable):
            return False
        return any(
            each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ())
        )

    def _set_up_bridge(self) -> None:
        if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True, check=False).returncode:
            _run("ip", "link", "add", BRIDGE, "type", "bridge")
            _run("ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
            _run("ip", "link", "set", BRIDGE, "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _write_configuration(self) -> None:
        here = self.directory
        for name in ("cni", "kubelet"):
            (here / name).mkdir(exist_ok=True)
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": "10.244.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": True, "hairpinMode": True}
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {**bridge, "ipam": ipam},
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        (here / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        # restrict_oom_score_adj: where this machine is a container itself, it may not lower it
        (here / "containerd.toml").write_text(
            f'version = 2\nroot = "{here}/containerd"\nstate = "{here}/containerd-run"\n'
            f'[grpc]\n  address = "{self.socket}"\n'
            '[plugins."io.containerd.grpc.v1.cri"]\n'
            f'  sandbox_image = "{PAUSE_IMAGE}"\n  restrict_oom_score_adj = true\n'
            f'  [plugins."io.containerd.grpc.v1.cri".cni]\n    bin_dir = "/usr/lib/cni"\n    conf_dir = "{here}/cni"\n'
        )
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{here}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{here}/kubelet.crt",
            "tlsPrivateKeyFile": f"{here}/kubelet.key",
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "clusterDNS": [GATEWAY],
            "clusterDomain": "cluster.local",
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "resolvConf": "",
            "imageMinimumGCAge": "24h",
            "serializeImagePulls": False,
        }
        (here / "kubelet.json").write_text(json.dumps(kubelet))
        (here / "Corefile").write_text(
            f".:53 {{\n bind {GATEWAY}\n errors\n kubernetes cluster.local in-addr.arpa {{\n"
            f"  kubeconfig {self.kubeconfig} test\n }}\n cache 5\n}}\n"
        )


def _is_ours(rule: str) -> bool:
    return any(mark in rule for mark in ("KUBE", "CNI", BRIDGE))


def _run(*argv: str) -> str:
    done = subprocess.run(
        list(argv),
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv[:6])} … failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout


@contextmanager
def running_node() -> Iterator[Node]:
    (cache() / "node").mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(
            prefix="run-", dir=cache() / "node", ignore_cleanup_errors=True
        ) as scratch,
        Node(Path(scratch)) as node,
    ):
        yield node


if __name__ == "__main__":
    prepare()
