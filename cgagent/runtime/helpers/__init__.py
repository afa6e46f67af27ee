"""Child processes that work on a container's files under its ids or in its root, and end."""
