"""Makes what follows from the chart: the tables of its README and of the guide, its CRD, and what is in ``k8s/``.

``PYTHONPATH=tests python -m helm.generate`` writes; the tests fail while something is not current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from helm.chart import CHART, RELEASE, ROOT, Json, helm, load_all

README = CHART / "README.md"
INSTALL = ROOT / "docs" / "howto" / "install.md"
K8S = ROOT / "k8s"
OVERLAYS = ("evaluation", "production")
NAMESPACE = "socialsync"
_SOURCE = ROOT / "operator" / "crds" / "socialsyncqueue.yaml"
_LONGEST_DEFAULT = 60
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_MADE = "# Made by `make charts` from {}; change that.\n"


def generated() -> dict[Path, str]:
    """The content of each file."""
    return {
        CHART / "crds" / _SOURCE.name: _SOURCE.read_text("utf-8"),
        README: _between(README, "values", _values_table()),
        INSTALL: _between(INSTALL, "sizing", _sizing_table()),
        **_kustomize(),
    }


def stale(files: Mapping[Path, str]) -> list[Path]:
    """What is not as it should be."""
    left_over = {path for path in K8S.glob("*/**/*.yaml") if path.parent.name != "values"} - set(files)
    changed = {path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text}
    return sorted(changed | left_over)


# --- README


def settings() -> Iterator[tuple[str, str, str]]:
    """Section, path and description of each documented value, in order."""
    section, comment, path = "", [""], list[tuple[int, str]]()
    for line in (CHART / "values.yaml").read_text("utf-8").splitlines():
        if line.startswith("# == "):
            section = line.removeprefix("# == ")
        elif found := re.match(r" *# -- (.*)", line):
            comment = [found[1]]
        elif (found := re.match(r" *# (.*)", line)) and comment:
            comment.append(found[1])
        elif found := re.match(r"( *)([\w-]+):", line):
            path = [each for each in path if each[0] < len(found[1])] + [(len(found[1]), found[2])]
            if comment:
                yield section, ".".join(name for _, name in path), " ".join(comment)
            comment = []
        else:
            comment = []


def defaults() -> Json:
    """What ``values.yaml`` holds."""
    return dict(load_all((CHART / "values.yaml").read_text("utf-8"))[0])


def _values_table() -> str:
    lines, last, values = [], None, defaults()
    for section, path, description in settings():
        if section != last:
            lines += ["", f"### {section}", "", "| value | default | |", "|---|---|---|"]
            last = section
        shown = json.dumps(reduce(getitem, path.split("."), values))
        shown = f"`{shown}`" if len(shown) <= _LONGEST_DEFAULT else "see `values.yaml`"
        lines.append(f"| `{path}` | {shown} | {description} |")
    return "\n".join(lines).lstrip() + "\n\n"


def _between(path: Path, name: str, content: str) -> str:
    """The file's text with that content between ``<!-- name -->`` and ``<!-- end -->``."""
    head, begin, rest = path.read_text("utf-8").partition(f"<!-- {name} -->\n")
    return head + begin + content + "<!-- end -->" + rest.partition("<!-- end -->")[2]


# --- sizes


def _sizing_table() -> str:
    lines = ["| | pods | CPU each | memory each | at most |", "|---|---|---|---|---|"]
    least, most = [0, 0], [0, 0]
    for name, (low, high), resources in _sizes():
        requests, limit = resources["requests"], resources["limits"]["memory"]
        pods = f"{low}" if low == high else f"{low} to {high}"
        lines.append(f"| {name} | {pods} | {requests['cpu']} | {requests['memory']} | {limit} |")
        for total, count in ((least, low), (most, high)):
            total[0] += count * int(requests["cpu"].removesuffix("m"))
            total[1] += count * int(requests["memory"].removesuffix("Mi"))
    cpu, memory = (
        f"{low / unit:.1f} to {high / unit:.1f}"
        for low, high, unit in zip(least, most, (1000, 1024), strict=True)
    )
    return "\n".join([*lines, f"| **all, as requested** | | **{cpu} cores** | **{memory} GiB** | |"]) + "\n"


def _sizes() -> Iterator[tuple[str, tuple[int, int], Json]]:
    for (kind, name), manifest in objects_of("base").items():
        spec = manifest.get("spec", {})
        if kind == "Deployment":
            shown = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
            resources = spec["template"]["spec"]["containers"][0]["resources"]
            yield shown, (spec["replicas"], spec["replicas"]), resources
        elif kind == "SocialSyncQueue":
            yield f"workers: {name}", (spec["minReplicas"], spec["maxReplicas"]), spec["worker"]["resources"]


# --- k8s/


def objects_of(values: str) -> dict[tuple[str, str], Json]:
    """What ``helm template`` makes of ``k8s/values/{values}.yaml``, without what only Helm needs."""
    text = helm(
        *("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", "1.34.0", "--no-hooks"),
        *("--values", K8S / "values" / f"{values}.yaml"),
    ).stdout
    return {(each["kind"], each["metadata"]["name"]): _plain(each) for each in load_all(text)}


def _plain(manifest: Json) -> Json:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "namespace"}
    metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key not in _OF_HELM}
    return {**manifest, "metadata": metadata}


def _kustomize() -> dict[Path, str]:
    base = objects_of("base")
    by_component: dict[str, list[Json]] = {}
    for manifest in base.values():
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        by_component.setdefault(component, []).append(manifest)
    made = {
        K8S / "base" / f"{component}.yaml": _MADE.format("k8s/values/base.yaml") + _dump_all(manifests)
        for component, manifests in by_component.items()
    }
    names = sorted(f"{component}.yaml" for component in by_component)
    made[K8S / "base" / "kustomization.yaml"] = _kustomization({"resources": names}, "base")
    made[K8S / "crds" / _SOURCE.name] = _SOURCE.read_text("utf-8")
    made[K8S / "crds" / "kustomization.yaml"] = _kustomization({"resources": [_SOURCE.name]}, "base")
    for overlay in OVERLAYS:
        made |= _overlay(overlay, base, objects_of(overlay))
    return made


def _overlay(
    name: str, base: dict[tuple[str, str], Json], wanted: dict[tuple[str, str], Json]
) -> dict[Path, str]:
    """What differs from the base: new objects, and a JSON patch for each changed or dropped one."""
    folder = K8S / "overlays" / name
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    added = [namespace, *(each for key, each in wanted.items() if key not in base)]
    patches = []
    for key, manifest in base.items():
        target = {"kind": key[0], "name": key[1]}
        if key not in wanted:
            gone = {"apiVersion": manifest["apiVersion"], "kind": key[0], "metadata": {"name": key[1]}}
            patches.append({"patch": _dump({**gone, "$patch": "delete"})})
        elif steps := list(difference(manifest, wanted[key])):
            patches.append({"target": target, "patch": _dump(steps)})
    content = {"namespace": NAMESPACE, "resources": ["../../base", "added.yaml"], "patches": patches}
    return {
        folder / "kustomization.yaml": _kustomization(content, name),
        folder / "added.yaml": _MADE.format(f"k8s/values/{name}.yaml") + _dump_all(added),
    }


def difference(old: Any, new: Any, path: str = "") -> Iterator[Json]:
    """JSON patch steps from one to the other."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            below = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                yield {"op": "remove", "path": below}
            elif key not in old:
                yield {"op": "add", "path": below, "value": new[key]}
            else:
                yield from difference(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) <= len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from difference(before, after, f"{path}/{number}")
        for each in new[len(old) :]:
            yield {"op": "add", "path": f"{path}/-", "value": each}
    elif old != new:
        yield {"op": "replace", "path": path, "value": new}


def _kustomization(content: Json, values: str) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _MADE.format(f"k8s/values/{values}.yaml") + _dump({**head, **content})


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, and no references."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110)


def _dump_all(contents: list[Json]) -> str:
    return yaml.dump_all(contents, Dumper=_Dumper, sort_keys=False, width=110)


def main() -> None:
    files = generated()
    for path in stale(files):
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
        else:
            path.unlink()
        print(path.relative_to(ROOT))  # noqa: T201


if __name__ == "__main__":
    main()
