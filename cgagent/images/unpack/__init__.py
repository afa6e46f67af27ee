"""Unpacking one layer, confined. Standard library only: the child imports it under ``-I -S``."""
