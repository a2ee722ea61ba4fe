"""The ends of a carry of images: dockerd's save on the one, its load on the other. The stream is a tar.

source       names (with tags, or ids), there (chain ids of the destination), save (it has to be an archive as
             dockerd writes it) → bytes, layers, spared
destination  images (name, or an empty one, id, likeness) → images (name, id), replaced
"""

from __future__ import annotations

from typing import Any, BinaryIO, Dict, List, Mapping, Sequence

from machinectl_agent.images.engine import Engine, layers, unknown
from machinectl_agent.images.layerdb import find_layers, send_layers
from machinectl_agent.images.likeness import likeness_of
from machinectl_agent.images.names import is_id
from machinectl_agent.images.saved import send_saved
from machinectl_agent.images.tarfiles import BrokenArchive
from machinectl_agent.problems import Problem


def produce(args: Mapping[str, Any], sink: BinaryIO, _session: Any) -> Dict[str, Any]:
    """Raises `Problem`: `image-unknown`, `layers-unreadable`, `image-broken`, what `Engine` raises."""
    engine = Engine()
    names = [str(one) for one in args["names"]]
    images = [_inspected(engine, name) for name in names]
    there = set(args["there"])
    folder = None if args.get("save") else find_layers(engine.info())
    if folder is not None:
        named = ["" if is_id(name) else name for name in names]
        return dict(send_layers(folder, [(named[at], one) for at, one in enumerate(images)], there, sink))
    try:
        with engine.saving(names) as archive:
            return dict(send_saved(archive, sink, [layers(one) for one in images], there))
    except BrokenArchive as error:
        raise Problem(
            "image-broken", "dockerd's archive of the images is not whole", why=str(error)
        ) from error


def _inspected(engine: Engine, name: str) -> Dict[str, Any]:
    image = engine.inspect(name)
    if image is None:
        raise unknown(name)
    return image


def consume(args: Mapping[str, Any], source: BinaryIO, _session: Any) -> Dict[str, Any]:
    """Raises `Problem`: `stream-broken` with nothing loaded, `image-differs`, `disk-full`, `engine-refused`."""
    engine = Engine()
    before = {one["name"]: engine.inspect(one["name"]) for one in args["images"] if one["name"]}
    engine.load(source)
    return {"images": verified(engine, args["images"]), "replaced": replaced(before, args["images"])}


def verified(engine: Engine, images: Sequence[Mapping[str, Any]]) -> List[Dict[str, str]]:
    """What is there now under each name. Raises `Problem` `image-differs`."""
    found = []
    for one in images:
        image = engine.inspect(one["name"] or one["id"])
        if image is None or not same(image, one):
            raise Problem(
                "image-differs",
                f"{one['name'] or one['id']} is not what was sent",
                why=f"it should be {one['id']}, and is {image['Id'] if image else 'not there'}",
                hint="somebody else may be at work on the same name; run the same command again",
            )
        found.append({"name": one["name"], "id": str(image["Id"])})
    return found


def same(image: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """`mixed`: one of the two is in containerd's store, which has ids of its own."""
    return image["Id"] == wanted["id"] or (
        bool(wanted.get("mixed")) and likeness_of(image) == wanted["likeness"]
    )


def replaced(before: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> List[Dict[str, str]]:
    """Names that were another image's until now; that one is there still, without the name."""
    return [
        {"name": one["name"], "id": str(before[one["name"]]["Id"])}
        for one in images
        if before.get(one["name"]) and not same(before[one["name"]], one)
    ]
