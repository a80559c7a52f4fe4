"""Containers in cgroups' paths: every runtime names a container's cgroup by its id.

docker-ID.scope and /docker/ID, libpod-ID.scope, cri-containerd-ID.scope, crio-ID.scope,
POD.slice:cri-containerd:ID, /kubepods/burstable/podUID/ID; what a payload makes lies below.
"""

import re
from dataclasses import dataclass

HEAD = 12  # digits, as `docker ps` shows them
_PART = re.compile(
    r"(?:[^/]*?:)?(?:(?P<runtime>[a-z][a-z0-9-]*)[-:])?(?P<id>[0-9a-f]{64})(?:\.scope)?"
)
_LONG = re.compile(rf"(?<![0-9a-f])([0-9a-f]{{{HEAD}}})[0-9a-f]{{{64 - HEAD}}}(?![0-9a-f])")
# The process that looks after a container (conmon) has a cgroup beside it, named by the same id.
_KEEPER = "conmon"
_RUNTIMES = {
    "libpod": "podman", "libpod-payload": "podman", "cri-containerd": "containerd",
    "crio": "cri-o", None: "container",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Container:
    """A container as a cgroup's path tells it; `below` is the path's rest, like '/init.scope'."""

    runtime: str
    id: str
    below: str = ""

    @property
    def head(self) -> str:
        """The runtime and the head of the id: 'docker 3f2a1b4c5d6e'."""
        return f"{self.runtime} {self.id[:HEAD]}"


def of(path: str) -> Container | None:
    """Returns the container that a cgroup is of, the innermost of several; None for none's."""
    parts = path.split("/")
    for at in range(len(parts) - 1, 0, -1):
        found = _PART.fullmatch(parts[at])
        if found and not (found["runtime"] or "").endswith(_KEEPER):
            below = "".join(f"/{part}" for part in parts[at + 1 :])
            return Container(_runtime(found["runtime"], parts[at - 1]), found["id"], below)
    return None


def _runtime(named: str | None, above: str) -> str:
    """By the name before the id, else by Docker's folder; a pod's may be of any runtime."""
    if named is None and above == "docker":
        return above
    return _RUNTIMES.get(named, named or "")


def told(path: str) -> str:
    """Returns a cgroup's path as a person reads it: 'docker 3f2a1b4c5d6e', or with ids cut."""
    found = of(path)
    return f"{found.head}{found.below}" if found else _LONG.sub(r"\1", path)
