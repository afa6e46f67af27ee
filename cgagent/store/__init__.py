"""What the agent remembers: one SQLite database and a module of records for each subject."""

from cgagent.store.database import Database

__all__ = ["Database"]
