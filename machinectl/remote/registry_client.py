"""A registry's HTTP API v2 (the OCI distribution specification): tags, digests, deletions. Standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinectl.errors import RegistryFailed

PAGE = 500
"""Entries of the catalog at once; registries give 1,000 at most."""
PAGES = 10_000
"""A registry whose pages go round in a circle is not followed for ever."""

LISTS = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
"""Images for several platforms: they name one manifest for each."""
MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        *LISTS,
    )
)
"""All that a tag can mean; without it a registry answers with the digest of a translation into an old form."""

_LARGEST = 64 << 20
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


@dataclass(frozen=True)
class Manifest:
    """What a tag means, or what a list names."""

    digest: str
    is_list: bool = False


class RegistryClient:
    """One registry. A connection for each request: one that the registry has closed meanwhile is no error then."""

    def __init__(
        self,
        url: str,
        *,
        connect: tuple[str, int] | None = None,
        ca: Path | None = None,
        user: str = "",
        password: str = "",
        deadline: float = 10.0,
    ) -> None:
        """`connect`: where to go instead of the URL's own host and port. `deadline`: seconds for each wait."""
        parts = urllib.parse.urlsplit(url)
        self.url = url
        self._tls = parts.scheme == "https"
        self._place = connect or (parts.hostname or "", parts.port or (443 if self._tls else 80))
        self._ca = ca
        self._deadline = deadline
        self._headers = {"User-Agent": "machinectl"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def ping(self) -> None:
        """Raises `RegistryFailed` where it is none, can't be reached, or does not let us in."""
        self._call("GET", "/v2/")

    def repositories(self) -> list[str]:
        """All of the catalog, page by page."""
        return [
            str(one) for page in self._pages(f"/v2/_catalog?n={PAGE}") for one in page["repositories"] or ()
        ]

    def tags(self, repository: str) -> list[str]:
        """None where all were deleted. Raises `RegistryFailed` `registry-unknown` for an unknown repository."""
        path = f"/v2/{urllib.parse.quote(repository)}/tags/list?n={PAGE}"
        return sorted(str(one) for page in self._pages(path) for one in page.get("tags") or ())

    def manifest(self, repository: str, reference: str) -> Manifest:
        """That a tag means. Raises `RegistryFailed` `registry-unknown` where there is none."""
        _, headers, _ = self._call("HEAD", _manifest_path(repository, reference), {"Accept": MANIFESTS})
        found = headers.get("docker-content-digest", "")
        if not found:
            raise RegistryFailed(f"the registry tells no digest for {repository}:{reference}")
        return Manifest(found, _is_list(headers.get("content-type", "")))

    def parts(self, repository: str, digest: str) -> list[Manifest]:
        """What a list names. Raises `RegistryFailed` `registry-unknown` where there is no such list."""
        path = _manifest_path(repository, digest)
        _, _, content = self._call("GET", path, {"Accept": MANIFESTS})
        try:
            parts = json.loads(content)["manifests"]
            return [Manifest(str(one["digest"]), _is_list(str(one.get("mediaType")))) for one in parts]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RegistryFailed(
                f"what {self.url} has as {path} can't be understood", why=str(error)
            ) from error

    def delete(self, repository: str, digest: str) -> None:
        """Deletes a manifest, and with it every tag that means it."""
        self._call("DELETE", _manifest_path(repository, digest))

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        for _ in range(PAGES):
            _, headers, content = self._call("GET", path)
            try:
                page = json.loads(content)
                if not isinstance(page, dict):
                    raise TypeError("no object")  # noqa: TRY301 - one error for all
            except (ValueError, TypeError) as error:
                raise RegistryFailed(
                    f"what answers at {self.url} is no registry", why=f"{path}: {error}"
                ) from error
            yield page
            link = _NEXT.search(headers.get("link", ""))
            if not link:
                return
            onward = urllib.parse.urlsplit(urllib.parse.urljoin(path, link[1]))
            path = f"{onward.path}?{onward.query}"

    def _call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection()
        try:
            connection.request(method, path, headers={**self._headers, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status >= 300:
            raise self._refused(method, path, answer.status, content)
        return answer.status, found, content

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._place
        if not self._tls:
            return http.client.HTTPConnection(host, port, timeout=self._deadline)
        try:
            context = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        except OSError as error:
            raise RegistryFailed(f"{self._ca} can't be used", why=error.strerror or str(error)) from error
        return http.client.HTTPSConnection(host, port, timeout=self._deadline, context=context)

    def _unreachable(self, error: Exception) -> RegistryFailed:
        what = f"the registry {self.url} can't be reached"
        if isinstance(error, ssl.SSLCertVerificationError):
            return RegistryFailed(
                f"the certificate of {self.url} is not trusted",
                why=error.verify_message,
                hint="`machinectl registry deploy` brings one of this store's CA",
                problem="registry-untrusted",
            )
        if isinstance(error, ConnectionRefusedError):
            return RegistryFailed(what, why="connection refused", problem="registry-refused")
        if isinstance(error, TimeoutError):
            why = f"nothing came within {self._deadline:g} s"
            return RegistryFailed(what, why=why, problem="registry-timeout")
        if isinstance(error, (ssl.SSLError, http.client.HTTPException)):
            why = str(getattr(error, "reason", "") or error)
            return RegistryFailed(f"what answers at {self.url} is no registry", why=why)
        why = getattr(error, "strerror", "") or str(error)
        return RegistryFailed(what, why=why, problem="registry-unreachable")

    def _refused(self, method: str, path: str, status: int, content: bytes) -> RegistryFailed:
        place = path.partition("?")[0]
        if status == 401:
            return RegistryFailed(
                f"the registry {self.url} does not let us in",
                why="it knows another user or password than this store",
                hint="`machinectl registry deploy --user NAME MACHINE` sets them",
                problem="registry-login",
            )
        if status == 404:
            return RegistryFailed(
                f"{self.url} has no {place.removeprefix('/v2/')}", problem="registry-unknown"
            )
        why = _message(content) or f"HTTP status {status}"
        if status == 405:
            why = "it deletes nothing; is it a mirror, or somebody else's?"
        return RegistryFailed(f"the registry {self.url} refuses {method} {place}", why=why)


def _manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{urllib.parse.quote(repository)}/manifests/{urllib.parse.quote(reference, safe=':')}"


def _is_list(kind: str) -> bool:
    return kind.partition(";")[0].strip() in LISTS


def _message(content: bytes) -> str:
    """A registry's errors are `{"errors":[{"code":…,"message":…}]}`."""
    try:
        return str(json.loads(content)["errors"][0]["message"])
    except (ValueError, KeyError, TypeError, IndexError):
        return content[:200].decode(errors="replace").strip()
