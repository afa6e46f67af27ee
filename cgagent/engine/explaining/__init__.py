"""Why a container, or any group of the host, is slow: figures for `policy.causes`, and answers."""

from cgagent.engine.explaining.explanations import Explanation, Explanations

__all__ = ["Explanation", "Explanations"]
