"""``build --output``: the image as an archive, or its files as a tar or in a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.archives import write_archive
from cgagent.cli.placing import place
from cgagent.client.http import quote

if TYPE_CHECKING:
    from cgagent.client.http import Client

_FORMS: Final = {"docker": "docker-archive", "oci": "oci-archive"}


def write(client: Client, image: str, kind: str, where: str) -> None:
    """Raises CgagentError."""
    if kind == "image":
        return
    if kind in _FORMS:
        path = f"/v1/images/save?names={quote(image)}&form={_FORMS[kind]}"
        write_archive(client, path, where)
        return
    # a container that never starts has the image's files
    body: dict[str, Any] = {"image": image, "command": ["none"]}
    container = client.request("POST", "/v1/containers", body)["id"]
    try:
        path = f"/v1/containers/{container}/export"
        if kind == "tar":
            write_archive(client, path, where)
        else:
            os.makedirs(where, exist_ok=True)
            place(where, client.download(path), keep_owner=os.geteuid() == 0)
    finally:
        client.request("DELETE", f"/v1/containers/{container}?force=true")
