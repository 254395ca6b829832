"""A real Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes.

No kubelet: a test that needs running pods plays it (``kubelet.py``). The components are Go modules, built once and
kept in the user's cache: ``python tests/control_plane.py`` builds what is missing, in about ten minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rich.console import Console

from socialsync_cli.processes import free_port, spawn, stop
from socialsync_cli.waiting import wait_until
from socialsync_common.kubernetes_api import ApiError, ApiUnavailable, KubernetesApi

KUBERNETES, STAGING, ETCD, COREDNS = "v1.34.4", "v0.34.4", "v3.7.3", "v1.15.0"
KUBERNETES_TOOLS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE_TOOLS = ("kubelet", "kube-proxy")
MODULES = {  # of what is no part of Kubernetes: package, module and version
    "etcd": ("go.etcd.io/etcd/server/v3", f"go.etcd.io/etcd/server/v3@{ETCD}"),
    "coredns": ("github.com/coredns/coredns", f"github.com/coredns/coredns@{COREDNS}"),
}
CONTROL_PLANE = ("etcd", *KUBERNETES_TOOLS)
NODE = (*CONTROL_PLANE, *NODE_TOOLS, "coredns")
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
)

Json = dict[str, Any]


def cache() -> Path:
    """Where all that is slow to make is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socialsync"


def folder() -> Path:
    return cache() / f"kubernetes-{KUBERNETES}"


def missing(tools: Sequence[str] = CONTROL_PLANE) -> list[str]:
    return [name for name in tools if not (folder() / "bin" / name).exists()]


def build(tools: Sequence[str] = CONTROL_PLANE) -> None:
    """Build what is missing. Needs Go; modules come from the proxy that it is set up for."""
    console = Console(stderr=True)
    wanted = missing(tools)
    if not wanted:
        return
    if shutil.which("go") is None:
        console.print("control plane: Go is not on PATH; see https://go.dev/doc/install", style="red")
        raise SystemExit(1)
    kubernetes = [name for name in wanted if name not in MODULES]
    batches = [*([name] for name in wanted if name in MODULES), *([kubernetes] if kubernetes else [])]
    output = folder() / "bin"
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, console.status("") as status:
        for batch in batches:
            status.update(f"building {', '.join(batch)} (all in all about ten minutes, once)")
            source, made = Path(scratch) / batch[0], Path(scratch) / f"{batch[0]}-bin"
            source.mkdir()
            made.mkdir()
            alone = batch[0] in MODULES
            packages = (_prepare_module if alone else _prepare_kubernetes)(source, batch)
            target = f"{made}/{batch[0]}" if alone else f"{made}/"
            _go(source, "build", "-mod=mod", "-trimpath", "-ldflags", _flags(), "-o", target, *packages)
            for name in batch:
                shutil.move(made / name, output / f".{name}")
                (output / f".{name}").rename(output / name)
                console.print(f"built {output / name}")


def _prepare_kubernetes(source: Path, names: list[str]) -> list[str]:
    """Kubernetes' staging modules are replaced in its own go.mod, which a dependent has to repeat."""
    module = f"k8s.io/kubernetes@{KUBERNETES}"
    download = json.loads(_go(source, "mod", "download", "-json", module))
    lines = Path(download["GoMod"]).read_text("utf-8").splitlines()
    staged = [line.split()[0] for line in lines if "=> ./staging/" in line]
    replaced = "".join(f"\t{each} => {each} {STAGING}\n" for each in staged)
    (source / "go.mod").write_text(
        f"module controlplane\n\ngo 1.25.0\n\nrequire k8s.io/kubernetes {KUBERNETES}\n\nreplace (\n{replaced})\n"
    )
    return [f"k8s.io/kubernetes/cmd/{name}" for name in names]


def _prepare_module(source: Path, names: list[str]) -> list[str]:
    package, module = MODULES[names[0]]
    (source / "go.mod").write_text("module controlplane\n\ngo 1.25.0\n")
    _go(source, "get", module)
    return [package]


def _flags() -> str:
    variable = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X {variable}.{name}={value}" for name, value in values.items())


def _go(source: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=source,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"control plane: go {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


class _Certificates:
    """A certificate authority of its own for each control plane."""

    def __init__(self, directory: Path, addresses: Sequence[str]) -> None:
        self._directory = directory
        self._addresses = addresses
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        authority = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._save("ca", authority.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, name: str, user: str, group: str | None = None, *, server: bool = False) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        names: list[x509.GeneralName] = [x509.IPAddress(ip_address(each)) for each in self._addresses]
        names += [x509.DNSName("kubernetes.default.svc"), x509.DNSName(user)]
        builder = (
            self._builder(x509.Name(attributes), key)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        self._save(name, builder.sign(self._key, hashes.SHA256()), key)

    def service_account_key(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        (self._directory / "sa.key").write_bytes(_private(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self._directory / "sa.pub").write_bytes(public)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        # clocks of tests may be an hour off
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=1),
        )

    def _save(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self._directory / f"{name}.crt").write_bytes(pem)
        (self._directory / f"{name}.key").write_bytes(_private(key))


def _private(key: Any) -> bytes:
    content: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return content


@dataclass
class ControlPlane:
    """Started by ``with``; keeps its ports, so that the API server can be stopped and started under its clients."""

    address: ClassVar[str] = "127.0.0.1"
    controllers: ClassVar[Sequence[str]] = CONTROLLERS

    directory: Path
    port: int = field(default_factory=free_port)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each request of a service account."""
        return self.directory / "audit.log"

    @property
    def api(self) -> KubernetesApi:
        return self.api_as(self.kubeconfig)

    def api_as(self, kubeconfig: Path) -> KubernetesApi:
        return KubernetesApi.load(10, config_file=str(kubeconfig))

    def __enter__(self) -> Self:
        certificates = _Certificates(self.directory, sorted({self.address, "127.0.0.1", "10.96.0.1"}))
        certificates.issue("apiserver", "kube-apiserver", server=True)
        certificates.issue("admin", "admin", "system:masters")
        certificates.service_account_key()
        self._write_kubeconfig(
            self.kubeconfig,
            {
                "client-certificate": str(self.directory / "admin.crt"),
                "client-key": str(self.directory / "admin.key"),
            },
        )
        self._etcd_port, self._etcd_peers = free_port(), free_port()
        self.start_etcd()
        self.start_apiserver()
        options = ("--kubeconfig", str(self.kubeconfig), "--leader-elect=false")
        self._start(
            "kube-controller-manager",
            *(*options, "--secure-port=0", f"--controllers={','.join(self.controllers)}"),
            *(f"--root-ca-file={self.directory}/ca.crt", "--horizontal-pod-autoscaler-sync-period=1s"),
            f"--service-account-private-key-file={self.directory}/sa.key",
            *("--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-deployment-syncs=20"),
        )
        self._certificates = certificates
        self._start(
            "kube-scheduler", *options, "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"
        )
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    def start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peers))
        self._start(
            "etcd",
            *("--data-dir", str(self.directory / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        )

    def start_apiserver(self) -> None:
        policy = self.directory / "audit-policy.yaml"
        rules = [
            {
                "level": "Metadata",
                "userGroups": ["system:serviceaccounts"],
                "omitStages": ["RequestReceived"],
            },
            {"level": "None"},
        ]
        policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
        here = self.directory
        self._start(
            "kube-apiserver",
            *(
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--service-cluster-ip-range=10.96.0.0/16",
            ),
            *(
                f"--bind-address={self.address}",
                f"--advertise-address={self.address}",
                f"--secure-port={self.port}",
            ),
            *("--authorization-mode=RBAC", f"--client-ca-file={here}/ca.crt"),
            *(f"--tls-cert-file={here}/apiserver.crt", f"--tls-private-key-file={here}/apiserver.key"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--cert-dir={here}"),
            *(
                f"--service-account-key-file={here}/sa.pub",
                f"--service-account-signing-key-file={here}/sa.key",
            ),
            *(
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-mode=blocking",
            ),
            *("--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--event-ttl=1h"),
            *self.apiserver_options(),
        )
        wait_until(self._ready, 60, "the API server is ready")

    def apiserver_options(self) -> Sequence[str]:
        """Pods need no tokens, since nothing runs them, and a node is ready when a test says so."""
        return ("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",)

    def stop(self, name: str) -> None:
        stop(self._processes.pop(name), (signal.SIGTERM, 5), (signal.SIGKILL, 5))

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Runs kubectl as the administrator; returns what it prints (and, unchecked, its complaints)."""
        done = subprocess.run(
            [
                folder() / "bin" / "kubectl",
                *("--kubeconfig", self.kubeconfig, "--cache-dir", self.directory / "cache"),
                *arguments,
            ],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if check else subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def install(self, manifests: Path) -> None:
        """Apply a file; returns when the resources that it defines are served."""
        self.kubectl("apply", "--server-side", "-f", str(manifests))
        described = "apis/socialsync.ai/v1alpha1"
        wait_until(lambda: described in self.api.get("/openapi/v3")["paths"], 30, "its description")
        shutil.rmtree(self.directory / "cache")  # kubectl remembers which resources there were

    def service_account_kubeconfig(self, namespace: str, name: str, server: str | None = None) -> Path:
        """For a process that shall act as that service account, possibly through a proxy at ``server``."""
        answer = self.api.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": 7200},
            },
        )
        file = self.directory / f"{namespace}-{name}-{free_port()}.kubeconfig"
        self._write_kubeconfig(file, {"token": answer["status"]["token"]}, server)
        return file

    def _write_kubeconfig(self, file: Path, user: Json, server: str | None = None) -> None:
        cluster = {"server": server or self.url, "certificate-authority": str(self.directory / "ca.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        file.write_text(json.dumps(content))

    def _ready(self) -> bool:
        assert self._processes["kube-apiserver"].poll() is None, "see kube-apiserver.log"
        try:
            self.api.get("/apis/apps/v1")
            self.api.get("/apis/nobody.defined.this")
        except ApiError as error:
            return error.status == 404  # until all that is defined is served, unknown paths are 503
        except ApiUnavailable:
            return False
        return False

    def _start(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            built = folder() / "bin" / name
            argv: list[str | Path] = [built if built.exists() else name, *arguments]
            self._processes[name] = spawn(argv, output=log, cwd=self.directory)


@contextmanager
def running_control_plane() -> Iterator[ControlPlane]:
    with (
        tempfile.TemporaryDirectory(prefix="control-plane-", ignore_cleanup_errors=True) as scratch,
        ControlPlane(Path(scratch)) as plane,
    ):
        yield plane


if __name__ == "__main__":
    build()
