"""cgagent: containers under precise resource control on any Linux cgroup layout."""

__version__ = "0.1.0"
