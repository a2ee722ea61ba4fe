"""What is in a registry, and less of it: tags, rm, gc."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from machinectl.actions.registry.access import find_registry, opened
from machinectl.actions.registry.asking import ask
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError, RegistryFailed, UsageError
from machinectl.remote.become import Become
from machinectl.remote.registry_client import RegistryClient
from machinectl.store.store import Store

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
    """All that meant it."""


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
    """Deletes what `REPO:TAG` or `REPO@DIGEST` means. Raises `MachinectlError` where other tags mean it, too, unless
    they shall go as well."""
    repository, tag, digest = parse_reference(reference)
    machine, registry = find_registry(store, place)
    if registry.upstream:
        raise MachinectlError(
            "a mirror's images can't be deleted",
            why="it forgets what was not pulled for a week by itself",
            machine=machine.name,
        )
    with opened(store, machine, registry) as client:
        digest = digest or client.digest(repository, tag)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            every = pool.map(lambda one: _with_digest(client, Tag(repository, one)), client.tags(repository))
            same = [one.tag for one in every if one.digest == digest]
        others = [one for one in same if one != tag]
        if others and not all_tags:
            raise MachinectlError(
                f"{', '.join(f'{repository}:{one}' for one in others)} would go, too",
                why=f"the same image is meant ({digest[:19]}…), and a registry deletes images, not names",
                hint="add --all-tags where that is wanted",
                machine=machine.name,
            )
        client.delete(repository, digest)
    return Removed(digest, same)


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
    try:
        return Tag(one.repository, one.tag, client.digest(one.repository, one.tag))
    except RegistryFailed as error:
        if error.problem == "registry-unknown":  # deleted meanwhile
            return one
        raise
