"""What schemathesis is told of Docker's API: hooks, by the variable ``SCHEMATHESIS_HOOKS``.

A made request names a container that is there half of the time. An answer is a defect's if its
status is one of 5xx that has no meaning: 501 is for what is not here, 503 for a Docker that is in
no swarm.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import schemathesis

BOX: Final = "web"
_MEANT: Final = frozenset({501, 503})


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Of what is not deleted."""
    operation = context.operation
    if path_parameters and operation.method.upper() != "DELETE" and "containers" in operation.path:
        seed = zlib.crc32(repr(path_parameters).encode())
        if "id" in path_parameters and seed % 2:
            return {**path_parameters, "id": BOX}
    return path_parameters


@schemathesis.check
def no_defect(context: Any, response: Any, case: Any) -> None:
    if response.status_code >= 500 and response.status_code not in _MEANT:
        raise AssertionError(f"{response.status_code}: {response.text[:300]}")
