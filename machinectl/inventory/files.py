"""The setting `files`: what lies where on the machine, with its content read or filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.errors import InventoryError
from machinectl.inventory.located import place_of
from machinectl.inventory.wish import FileWish

if TYPE_CHECKING:
    from machinectl.inventory.faults import Faults
    from machinectl.inventory.read import Host
    from machinectl.inventory.templating import Renderer

KEYS = ("dest", "src", "content", "template", "mode", "owner", "group", "restart", "secret")
SOURCES = ("src", "content", "template")
DEST = re.compile(r"/(?!/)[^\0-\x1f]*[^/\0-\x1f]")
LARGEST = 64 * 1024 * 1024
"""Bytes. More is copying, not configuration."""


def file_wishes(rows: Sequence[Any], host: Host, renderer: Renderer, faults: Faults) -> tuple[FileWish, ...]:
    """What is wrong with one of them goes to `faults`, with file and line."""
    found: dict[str, FileWish] = {}
    for index, row in enumerate(rows):
        place = place_of(rows, index)
        with faults.kept():
            one = _file_wish(row, place, host, renderer)
            if one.path in found:
                raise InventoryError(
                    f"{place}: {one.path} is there twice", hint=f"also at {found[one.path].origin}"
                )
            found[one.path] = one
    return tuple(found.values())


def _file_wish(row: Any, place: str, host: Host, renderer: Renderer) -> FileWish:
    if not isinstance(row, dict):
        raise InventoryError(f"{place}: a file is a mapping with `dest` and `src`, `content` or `template`")
    unknown = next((one for one in row if one not in KEYS), None)
    if unknown is not None:
        raise InventoryError(f"{place}: a file has no {unknown!r}", hint=f"there are {', '.join(KEYS)}")
    given = [one for one in SOURCES if row.get(one) is not None]
    if len(given) != 1:
        raise InventoryError(f"{place}: exactly one of src, content and template is wanted")
    path = row.get("dest")
    if not isinstance(path, str) or os.path.normpath(path) != path or not DEST.fullmatch(path):
        raise InventoryError(f"{place}: dest is an absolute path of a file, not {path!r}")
    return FileWish(
        path=path,
        content=_content(given[0], row[given[0]], place, host, renderer),
        mode=_mode(row.get("mode", "0644"), place),
        owner=_account(row.get("owner", "root"), place),
        group=_account(row.get("group", "root"), place),
        restart=_unit(row.get("restart", ""), place),
        secret=_flag(row.get("secret", False), place),
        origin=place,
    )


def _content(kind: str, value: Any, place: str, host: Host, renderer: Renderer) -> bytes:
    if isinstance(value, (dict, list, bool)):
        # the value may be a secret
        raise InventoryError(f"{place}: {kind} is a text", hint="write it in quotation marks, or behind |")
    if kind == "content":
        return str(value).encode(errors="surrogateescape")
    path = find_file(str(value), "files" if kind == "src" else "templates", host.folders, place)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InventoryError(f"{place}: {path} can't be read", why=error.strerror or str(error)) from error
    if len(content) > LARGEST:
        raise InventoryError(
            f"{place}: {path} has {len(content) >> 20} MB, more than {LARGEST >> 20}",
            hint="is it data? copy it",
        )
    if kind == "src":
        return content
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InventoryError(f"{place}: the template {path} is no text") from error
    return str(renderer.text(text, host, str(path), file=True)).encode()


def find_file(text: str, folder: str, folders: Sequence[Path], place: str) -> Path:
    """Beside the inventory, or in its folder `files` or `templates`."""
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises for a user that is not there
    places = (
        [path] if path.is_absolute() else [base / sub / path for base in folders for sub in (folder, ".")]
    )
    for one in places:
        if one.is_file():
            return one
    looked = ", ".join(str(one) for one in places)
    raise InventoryError(f"{place}: there is no file {text}", why=f"looked at {looked}")


def _mode(value: Any, place: str) -> int:
    """YAML 1.1 reads 0644 as octal already; "0644" is a text."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o7777:
        if _is_written_octal(str(value)):
            raise InventoryError(
                f"{place}: the mode {value} is {value:04o} in octal", hint=f'write mode: "0{value}"'
            )
        return value
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3,4}", value):
        return int(value, 8)
    raise InventoryError(f"{place}: {value!r} is no mode", hint='write mode: "0640"')


def _is_written_octal(digits: str) -> bool:
    """A number whose digits are a mode as people write them (644): its owner may read and others not more than he,
    which no number is that YAML has read as octal (0644 is 420)."""
    if not re.fullmatch("[4-7][0-7][0-7]", digits):
        return False
    owner, group, other = map(int, digits)
    return not (group & ~owner or other & ~group) and digits != "511"  # 0777


def _account(value: Any, place: str) -> str:
    """A user or a group, by name or number."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?", text):
        raise InventoryError(f"{place}: {value!r} is no name of a user or group")
    return text


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise InventoryError(f"{place}: `secret` is true or false, not {value!r}")
    return value


def _unit(value: Any, place: str) -> str:
    text = "" if value is None else str(value)
    if (text and not re.fullmatch(r"[A-Za-z0-9:_.\\@-]+", text)) or text.startswith("-"):
        raise InventoryError(f"{place}: {text!r} is no systemd unit")
    return text
