"""Samples of every container, and their exposition to Prometheus.

Samples flow from the kernel through the sampler to whoever asks, and never back: nothing here
changes a container. It knows containers only as `Target`s.
"""

from cgagent.metrics.exposition import STATES, Metrics
from cgagent.metrics.rates import Rates, between
from cgagent.metrics.sampler import Sampler
from cgagent.metrics.samples import HostSample, Sample, SamplerState, Standing, Target

__all__ = [
    "STATES",
    "HostSample",
    "Metrics",
    "Rates",
    "Sample",
    "Sampler",
    "SamplerState",
    "Standing",
    "Target",
    "between",
]
