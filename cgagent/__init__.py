"""cgagent: containers under precise resource control on any Linux cgroup layout."""

from typing import Final

__version__: Final = "0.1.0"
