"""This computer's own docker, by its client: it knows the user's context, DOCKER_HOST and permissions."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Collection, Sequence
from typing import Any, BinaryIO

from machinectl.actions.carry import LocalSource
from machinectl.actions.image.sources import SAVES, Image, described, nothing_local
from machinectl.errors import MachinectlError
from machinectl_agent.images.likeness import likeness_of
from machinectl_agent.images.names import full, is_id
from machinectl_agent.images.saved import send_saved
from machinectl_agent.images.tarfiles import BrokenArchive

ANSWER = 60.0
"""Seconds for a question."""


class FromHere:
    """Its images, by their names."""

    label = "this computer's docker"
    divisible = True

    def __init__(self, names: Sequence[str]) -> None:
        self.containerd = False
        self.turns = threading.Semaphore(SAVES)
        self._names = names

    def offer(self) -> Sequence[Image]:
        told = _ask("info", "--format", "{{json .}}")
        info = json.loads(told.stdout) if told.returncode == 0 else {}
        if not info.get("ServerVersion"):
            raise nothing_local(told.stderr.strip() or " ".join(info.get("ServerErrors") or ()))
        self.containerd = "containerd" in json.dumps(info.get("DriverStatus"))
        return [_inspected(one) for one in self._names]

    def end(self, images: Sequence[Image], there: Collection[str], *, whole: bool) -> LocalSource:
        names = [one.name or one.id for one in images]
        layers = [one.layers for one in images]

        def produce(sink: BinaryIO) -> dict[str, Any]:
            return save(names, layers, sink, set(there))

        return LocalSource(produce)


def save(
    names: Sequence[str], layers: Sequence[Sequence[str]], sink: BinaryIO, there: set[str]
) -> dict[str, Any]:
    """`docker save` without the layers that are `there`. Raises `MachinectlError` with docker's own words."""
    # a file, no pipe: nobody reads what it says until it has ended
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE, stderr=said) as child,
    ):
        assert child.stdout
        try:
            result = dict(send_saved(child.stdout, sink, layers, there))  # type: ignore[arg-type] # it reads
            status = child.wait(ANSWER)
        except BrokenArchive as error:
            status = child.wait(ANSWER)
            raise _unsaved(said, status) from error
        finally:
            child.kill()
        if status:
            raise _unsaved(said, status)
        return result


def _unsaved(said: Any, status: int) -> MachinectlError:
    said.seek(0)
    words = said.read(2000).decode(errors="replace").strip()
    return MachinectlError("`docker save` failed", why=words or f"exit status {status}")


def _inspected(name: str) -> Image:
    for asked, tag in ((full(name), full(name)), (name, "")):
        told = _ask("image", "inspect", asked)
        if told.returncode == 0:
            one = json.loads(told.stdout)[0]
            return described(
                {
                    "name": "" if is_id(tag) else tag,
                    "id": one["Id"],
                    "layers": (one.get("RootFS") or {}).get("Layers") or (),
                    "size": one["Size"],
                    "architecture": one.get("Architecture", ""),
                    "likeness": likeness_of(one),
                }
            )
    raise MachinectlError(
        f"this computer's docker has no image {full(name)}",
        hint="--from MACHINE takes it from a machine, --file FILE from a tar file",
        problem="image-unknown",
    )


def _ask(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=ANSWER, check=False)
    except FileNotFoundError:
        raise nothing_local("there is no command `docker`") from None
    except subprocess.TimeoutExpired:
        raise nothing_local(f"it did not answer within {ANSWER:g} s") from None
