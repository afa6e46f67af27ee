"""The native API, one module of routes for each subject, schemas beside them."""
