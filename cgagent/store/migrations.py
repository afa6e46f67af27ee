"""The schema, as the ordered list of scripts that made it.

A script is never edited once released: the schema changes by adding one. The number of
scripts applied is the database's ``PRAGMA user_version``.
"""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final = (
    """
    CREATE TABLE images (
        id         TEXT PRIMARY KEY,   -- sha256:<digest of the config>
        config     BLOB NOT NULL,      -- the config as its author wrote it
        added_ns   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE layers (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,  -- names its short link, never reused
        chain_id   TEXT NOT NULL UNIQUE,
        diff_id    TEXT NOT NULL,
        size_bytes INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE image_layers (
        image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        position   INTEGER NOT NULL,   -- 0 is the bottom
        chain_id   TEXT NOT NULL REFERENCES layers(chain_id),
        PRIMARY KEY (image_id, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_layers_by_chain ON image_layers(chain_id);

    CREATE TABLE image_names (
        reference  TEXT PRIMARY KEY,   -- canonical: docker.io/library/alpine:latest
        image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_names_by_image ON image_names(image_id);

    -- Root file systems handed out: an image stays while one stands on it, even before
    -- its container has a row.
    CREATE TABLE rootfs (
        container_id TEXT PRIMARY KEY,
        image_id     TEXT NOT NULL REFERENCES images(id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX rootfs_by_image ON rootfs(image_id);

    CREATE TABLE containers (
        id         TEXT PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        image_id   TEXT,
        created_ns INTEGER NOT NULL,
        document   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE volumes (
        name       TEXT PRIMARY KEY,
        anonymous  INTEGER NOT NULL,   -- 1: named by us, goes with its container
        created_ns INTEGER NOT NULL,
        labels     TEXT NOT NULL       -- JSON: an object of strings
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE events (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ns    INTEGER NOT NULL,
        type       TEXT NOT NULL,
        action     TEXT NOT NULL,
        id         TEXT NOT NULL,
        attributes TEXT NOT NULL       -- JSON: an object of strings
    ) STRICT;
    """,
)
