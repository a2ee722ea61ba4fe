"""What is in a registry, and less of it: tags, rm, gc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from machinectl.actions.registry.access import find_registry, opened
from machinectl.actions.registry.asking import ask
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError, RegistryFailed, UsageError
from machinectl.remote.become import Become
from machinectl.remote.registry_client import Manifest, RegistryClient
from machinectl.store.store import Store

Found = TypeVar("Found")

AT_ONCE = 8
"""Requests to one registry."""
GC_DEADLINE = 13 * 3600.0
"""Seconds; the agent's own deadline for it is less."""


@dataclass(frozen=True)
class Tag:
    repository: str
    tag: str
    """Empty: the repository has none any more."""
    digest: str = ""


@dataclass(frozen=True)
class Removed:
    digest: str
    tags: Sequence[str]
    """All that meant it, or a list that it was a part of."""


def tags(store: Store, place: str, repository: str = "", *, digests: bool = False) -> list[Tag]:
    """Of all repositories, or of one."""
    machine, registry = find_registry(store, place)
    with opened(store, machine, registry) as client:
        names = [repository] if repository else client.repositories()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lists = list(pool.map(client.tags, names))
            found = [Tag(name, tag) for name, tags in zip(names, lists, strict=True) for tag in tags or [""]]
            if digests:
                found = list(pool.map(lambda one: _with_digest(client, one), found))
    return found


def remove_tag(store: Store, place: str, reference: str, *, all_tags: bool) -> Removed:
    """Deletes what `REPO:TAG` or `REPO@DIGEST` means. Raises `MachinectlError` where other tags mean it, too, or
    lists for several platforms that it is a part of, unless they shall go as well."""
    repository, tag, digest = parse_reference(reference)
    machine, registry = find_registry(store, place)
    if registry.upstream:
        raise MachinectlError(
            "a mirror's images can't be deleted",
            why="it forgets what was not pulled for a week by itself",
            machine=machine.name,
        )
    with opened(store, machine, registry) as client:
        digest = digest or client.manifest(repository, tag).digest
        same, lists = _meaning(client, repository, digest)
        others = [one for one in (*same, *lists) if one != tag]
        if others and not all_tags:
            why = f"the same image is meant ({digest[:19]}…), and a registry deletes images, not names"
            if lists:
                named = ", ".join(f"{repository}:{one}" for one in lists)
                why = f"this image ({digest[:19]}…) is a part of {named}, for one of the platforms"
            raise MachinectlError(
                f"{', '.join(f'{repository}:{one}' for one in others)} would go, too",
                why=why,
                hint="add --all-tags where that is wanted",
                machine=machine.name,
            )
        # a list first: it is never there without its parts
        for one in dict.fromkeys((*lists.values(), digest)):
            client.delete(repository, one)
    return Removed(digest, [*same, *lists])


def _meaning(client: RegistryClient, repository: str, digest: str) -> tuple[list[str], dict[str, str]]:
    """The tags that mean a manifest; and tag → digest of the lists that it is a part of."""

    def one(tag: str) -> tuple[str, Manifest, bool]:
        found = _unless_gone(lambda: client.manifest(repository, tag)) or Manifest("")
        return tag, found, found.digest != digest and _has_part(client, repository, found, digest)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        every = list(pool.map(one, client.tags(repository)))
    same = [tag for tag, found, _ in every if found.digest == digest]
    return same, {tag: found.digest for tag, found, is_whole in every if is_whole}


def _has_part(client: RegistryClient, repository: str, whole: Manifest, digest: str) -> bool:
    """Lists may be parts of lists."""
    if not whole.is_list:
        return False
    parts = _unless_gone(lambda: client.parts(repository, whole.digest)) or []
    return any(one.digest == digest or _has_part(client, repository, one, digest) for one in parts)


def parse_reference(text: str) -> tuple[str, str, str]:
    """Repository, tag, digest; one of the last two is empty. Raises `UsageError`."""
    repository, at, digest = text.partition("@")
    if at and repository and digest.startswith("sha256:"):
        return repository, "", digest
    repository, colon, tag = text.rpartition(":")
    if at or not colon or not repository or not tag or "/" in tag:
        raise UsageError(f"{text}: no tag is named", hint="REPOSITORY:TAG, without the registry's own name")
    return repository, tag, ""


def collect(
    store: Store, place: str, *, untagged: bool, become: Become, quiet: bool = False
) -> tuple[int, int]:
    """Bytes before and after. The registry stands still meanwhile and runs again afterwards, come what may."""
    machine, registry = find_registry(store, place)
    report = Report(machine.name, quiet=quiet)
    with store.machine_lock(machine.name, wait=30.0):
        args = {"port": registry.port, "untagged": untagged}
        result = ask(store, machine, "gc", args, become=become, report=report, deadline=GC_DEADLINE)
    return int(result["before"]), int(result["after"])


def _with_digest(client: RegistryClient, one: Tag) -> Tag:
    if not one.tag:
        return one
    found = _unless_gone(lambda: client.manifest(one.repository, one.tag))
    return Tag(one.repository, one.tag, found.digest) if found else one


def _unless_gone(ask_it: Callable[[], Found]) -> Found | None:
    """None where it was deleted meanwhile."""
    try:
        return ask_it()
    except RegistryFailed as error:
        if error.problem == "registry-unknown":
            return None
        raise
