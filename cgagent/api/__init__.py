"""The HTTP API: native under ``/v1``, OpenAPI at ``/docs``. Pydantic lives only here."""
