"""The page at ``/ui``: files that a browser gets, which then asks the public API alone."""
