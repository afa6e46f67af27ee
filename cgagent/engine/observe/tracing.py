"""Jobs as OpenTelemetry traces: a span for each, its steps below it, by OTLP over HTTP.

Wanted where the environment has the standard's variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, or that
of traces); needs the libraries of the extra ``cgagent[tracing]``, which nothing else loads. Spans
leave in a thread of their own: a collector that does not answer delays no job.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Final

from cgagent import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from cgagent.engine.jobs import Job

log = logging.getLogger(__name__)

_WANTED_BY: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
_ARGUMENTS: Final = {"container": "container.id", "image": "container.image.name"}
"""Arguments of jobs that OpenTelemetry has a name for."""
_TIMEOUT: Final = "OTEL_EXPORTER_OTLP_TIMEOUT"
_TIMEOUT_S: Final = 2.0
"""The standard's 10 s would be the time our end takes when no collector is there."""


def tracer() -> Tracer | None:
    """None where nobody wants traces, or where they cannot be had: then the log says why."""
    wanted = next((name for name in _WANTED_BY if os.environ.get(name)), None)
    if wanted is None:
        return None
    if not _is_installed():
        log.warning("%s is set, but no traces are sent: install cgagent[tracing]", wanted)
        return None
    return Tracer()


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(f"{_EXPORTER}.trace_exporter") is not None
    except ModuleNotFoundError:
        return False


class Tracer:
    """Owns the thread that sends, from its making to `close`."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        about = {"service.name": "cgagent", "service.version": __version__}
        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create(about), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(timeout=None if _TIMEOUT in os.environ else _TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("cgagent", __version__)

    def observe(self, job: Job) -> None:
        """Send a job that has ended."""
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        span = self._tracer.start_span(
            job.name,
            attributes={
                "cgagent.job.id": job.id,
                "cgagent.job.status": job.status,
                **{_ARGUMENTS.get(k, f"cgagent.job.{k}"): v for k, v in job.arguments.items()},
            },
            start_time=_ns(job.started_at),
        )
        below = set_span_in_context(span)
        for step in job.steps:
            part = self._tracer.start_span(
                f"{job.name} {step.name}", context=below, start_time=_ns(step.started_at)
            )
            part.end(_ns(step.started_at + (step.duration_s or 0.0)))
        if job.error is not None:
            span.set_status(Status(StatusCode.ERROR, job.error))
        span.end(_ns(job.started_at + (job.duration_s or 0.0)))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _ns(unix_s: float) -> int:
    return round(unix_s * 1e9)
