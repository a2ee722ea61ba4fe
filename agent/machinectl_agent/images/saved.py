"""`docker save`'s archive, without the layers that the other side has, while dockerd writes it.

Docker 25 and later names a layer by its diff id: blobs/sha256/HEX. Older ones name it by an id of Docker's first
image format: HEX/json, HEX/layer.tar, with manifest.json, which would explain it, at the end. But that id is the
SHA-256 of a document that holds the chain id (CreateID in docker's image/v1/imagev1.go), so it tells which of the
chain ids at hand it is. Where nothing fits, the layer is sent.
"""

from __future__ import annotations

import hashlib
import json
from typing import AbstractSet, Any, BinaryIO, Dict, Mapping, Optional, Sequence

from machinectl_agent.images.chains import spared, stacked
from machinectl_agent.images.tarfiles import BrokenArchive, Entry, copy, finish

BLOBS = "blobs/sha256/"


def send_saved(
    source: BinaryIO, sink: BinaryIO, images: Sequence[Sequence[str]], there: AbstractSet[str]
) -> Dict[str, int]:
    """`images`: the diff ids of each; `there`: chain ids of the other side. Returns `bytes`, `layers` (sent) and
    `spared` (layers left out). Raises `BrokenArchive`."""
    choice = _Choice(images, there)
    written = copy(source, sink, choice.wanted)
    if not choice.complete:
        raise BrokenArchive("it ends before its manifest.json")
    return {"bytes": written + finish(sink), "layers": choice.sent, "spared": choice.spared}


class _Choice:
    def __init__(self, images: Sequence[Sequence[str]], there: AbstractSet[str]) -> None:
        self._layers = {chain: diff for diff_ids in images for diff, chain in stacked(diff_ids)}
        self._diffs = set(self._layers.values())
        self._spared = spared(images, there)
        self._folders: Dict[str, str] = {}
        self.complete = False
        self.sent = 0
        self.spared = 0

    def wanted(self, entry: Entry) -> bool:
        name = entry.name
        diff_id = None
        if name == "manifest.json":
            self.complete = True
        elif name.startswith(BLOBS):
            diff_id = "sha256:" + name[len(BLOBS) :]
        elif name.endswith("/layer.tar"):
            diff_id = self._folders.get(name.rpartition("/")[0], "")
        elif name.endswith("/json") and entry.small:
            self._note(name.rpartition("/")[0], entry.content())
        if diff_id is None or (name.startswith(BLOBS) and diff_id not in self._diffs):
            return True
        if diff_id in self._spared:
            self.spared += 1
            return False
        self.sent += entry.member.isreg()
        return True

    def _note(self, folder: str, text: bytes) -> None:
        chain = which_chain(folder, text, self._layers)
        if chain is not None:
            self._folders[folder] = self._layers[chain]


def which_chain(folder: str, text: bytes, chains: Mapping[str, str]) -> Optional[str]:
    """The one of `chains` that a folder of the old format is named after. Pure."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    document.pop("id", None)
    if "parent" in document:
        document["parent"] = f"sha256:{document['parent']}"
    without_os = {key: value for key, value in document.items() if key != "os"}
    for chain in chains:
        # `os` is added to the lower layers' documents only after they have been named
        for one in (without_os, document):
            if hashlib.sha256(_as_go({**one, "layer_id": chain})).hexdigest() == folder:
                return chain
    return None


def _as_go(document: Mapping[str, Any]) -> bytes:
    """As Go writes a map: its keys sorted, those inside as they were, three characters escaped."""
    text = json.dumps(
        {key: document[key] for key in sorted(document)}, separators=(",", ":"), ensure_ascii=False
    )
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()
