"""Containers as the engine keeps them: their records, the set of them, names, directories."""
