"""The child that copies files: it goes to a container's root and does one request there.

`copying` starts it in a bare interpreter. Its argument is the request as a JSON object, with the
name of a function of `cgagent.runtime.helpers.enter` and that one's arguments.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from cgagent.images.unpack import copy
from cgagent.runtime.helpers import enter


def main() -> None:
    request = json.loads(sys.argv[1])
    copy.main(request, partial(getattr(enter, request["enter"]), **request["place"]))
