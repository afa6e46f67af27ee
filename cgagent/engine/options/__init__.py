"""The options of a container: what a user asked for, checked, and what the runtime is told."""
