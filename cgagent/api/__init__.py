"""The HTTP API: the native one under ``/v1`` with OpenAPI at ``/docs``. Pydantic lives only here."""
