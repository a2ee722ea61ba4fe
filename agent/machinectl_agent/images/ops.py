"""The verb `images`: questions and small operations. args: op, and what it needs."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping

from machinectl_agent.images.chains import chain_ids
from machinectl_agent.images.ends import replaced, same, verified
from machinectl_agent.images.engine import Engine, is_containerd, layers, unknown
from machinectl_agent.images.likeness import likeness_of
from machinectl_agent.images.names import full, is_id
from machinectl_agent.problems import Problem


def serve(session: Any, args: Mapping[str, Any]) -> Dict[str, Any]:
    """Raises `Problem`."""
    return OPS[str(args["op"])](session, args)


def _list(_session: Any, _args: Mapping[str, Any]) -> Dict[str, Any]:
    """→ images: id, names, created (Unix time), size (bytes)."""
    rows = [
        {
            "id": one["Id"],
            "names": [name for name in one.get("RepoTags") or () if name != "<none>:<none>"],
            "created": one["Created"],
            "size": one["Size"],
        }
        for one in Engine().listed()
    ]
    return {"images": rows}


def _describe(_session: Any, args: Mapping[str, Any]) -> Dict[str, Any]:
    """names → images (name, id, layers, likeness, size, architecture), containerd."""
    engine = Engine()
    return {
        "images": [_described(engine, str(one)) for one in args["names"]],
        "containerd": is_containerd(engine.info()),
    }


def _described(engine: Engine, name: str) -> Dict[str, Any]:
    image, tag = engine.inspect(full(name)), full(name)
    if image is None:
        # an id, whole or its beginning
        image, tag = engine.inspect(name), ""
    if image is None:
        raise unknown(full(name))
    return {
        "name": "" if is_id(tag) else tag,
        "id": image["Id"],
        "layers": layers(image),
        "likeness": likeness_of(image),
        "size": image["Size"],
        "architecture": image.get("Architecture", ""),
    }


def _prepare(_session: Any, args: Mapping[str, Any]) -> Dict[str, Any]:
    """images (name, id, layers, likeness), containerd (of the source) → wanted: those that must be sent; the others
    are here and have their names now (named, replaced). there: chain ids of the layers of `wanted` that are here,
    none where the store wants all of them; containerd, architecture of this machine."""
    engine = Engine()
    info = engine.info()
    containerd = is_containerd(info)
    mixed = containerd or bool(args.get("containerd"))
    images: List[Dict[str, Any]] = [{**one, "mixed": mixed} for one in args["images"]]
    before = {one["name"]: engine.inspect(one["name"]) for one in images if one["name"]}
    wanted, named = [], []
    for one in images:
        now = before.get(one["name"])
        if now is not None and same(now, one):
            continue
        if engine.inspect(one["id"]) is not None:
            if one["name"]:
                engine.tag(one["id"], one["name"])
                named.append(one)
            continue
        wanted.append(one)
    verified(engine, named)
    # containerd's store wants every blob of an archive
    there = engine.chains() if wanted and not containerd else set()
    asked = {chain for one in wanted for chain in chain_ids(one["layers"])}
    return {
        "wanted": wanted,
        "named": [one["name"] for one in named],
        "replaced": replaced(before, named),
        "there": sorted(there & asked),
        "containerd": containerd,
        "architecture": str(info.get("Architecture", "")),
    }


def _remove(_session: Any, args: Mapping[str, Any]) -> Dict[str, Any]:
    """names, force → removed: name → how many layers went; missing: names that are not here."""
    engine = Engine()
    removed: Dict[str, int] = {}
    missing: List[str] = []
    for one in args["names"]:
        name = full(str(one))
        try:
            gone = engine.remove(name, force=bool(args.get("force")))
        except Problem as problem:
            if problem.code != "image-unknown":
                raise
            missing.append(name)
        else:
            removed[name] = sum("Deleted" in row for row in gone)
    return {"removed": removed, "missing": missing}


def _pull(session: Any, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.images.pull import pull  # noqa: PLC0415 - the others need none of it

    def emit(message: Mapping[str, Any]) -> None:
        session.emit(message)
        if session.gone:
            # dockerd ends a pull that nobody reads about any more
            raise Problem("controller-gone", "the controller went away")

    return pull(Engine(), args, emit)


OPS: Dict[str, Callable[[Any, Mapping[str, Any]], Dict[str, Any]]] = {
    "list": _list,
    "describe": _describe,
    "prepare": _prepare,
    "remove": _remove,
    "pull": _pull,
}
