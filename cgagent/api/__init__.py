"""The HTTP API: native under ``/v1``, OpenAPI at ``/docs``. FastAPI only here."""
