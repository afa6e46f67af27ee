"""Answers under docker's names, made of the engine's objects; a module for each kind of thing."""
