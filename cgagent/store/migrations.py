"""The schema, as the ordered list of scripts that made it.

A script is never edited once released: the schema changes by adding one. The number of
scripts applied is the database's ``PRAGMA user_version``.
"""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final = (
    """
    -- What lies under images/blobs/sha256, whole and under its own digest.
    CREATE TABLE blobs (
        digest     TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        diff_id    TEXT                -- of a layer: the digest of its plain tar
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX blobs_by_diff_id ON blobs(diff_id);

    -- An index refers to manifests, a manifest to a config and layers; where an image has no
    -- manifest its config refers to the layers. What an index refers to need not be here.
    CREATE TABLE blob_links (
        parent     TEXT NOT NULL REFERENCES blobs(digest) ON DELETE CASCADE,
        position   INTEGER NOT NULL,
        child      TEXT NOT NULL,
        PRIMARY KEY (parent, position)
    ) STRICT, WITHOUT ROWID;

    -- Who has blobs and layers before an image does: a pull, a load. None outlives its agent.
    CREATE TABLE leases (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        owner      TEXT NOT NULL,
        made_ns    INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE lease_digests (
        lease      INTEGER NOT NULL REFERENCES leases(number) ON DELETE CASCADE,
        digest     TEXT NOT NULL,      -- a blob's, or a layer's chain id
        PRIMARY KEY (lease, digest)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE images (
        id         TEXT PRIMARY KEY,   -- sha256:<digest of the config>
        config     BLOB NOT NULL,      -- as in its blob: each run reads it
        manifest   TEXT,               -- the digest of the one that came last; an archive of
                                       -- docker save has none
        added_ns   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE layers (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,  -- names its short link, never reused
        chain_id   TEXT NOT NULL UNIQUE,
        diff_id    TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        boot_id    TEXT                -- of the boot that unpacked it, until it is on disk
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
        image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        target     TEXT NOT NULL       -- what the name stands for: an index, a manifest, a config
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
    """
    -- Repositories that have a blob, for a push to another one of the same registry.
    CREATE TABLE blob_origins (
        digest     TEXT NOT NULL REFERENCES blobs(digest) ON DELETE CASCADE,
        registry   TEXT NOT NULL,      -- HOST[:PORT]
        repository TEXT NOT NULL,
        PRIMARY KEY (digest, registry, repository)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- 1: removed by force while containers stand on it; nobody sees it, and it goes with the last.
    ALTER TABLE images ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE networks (
        id         TEXT PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        created_ns INTEGER NOT NULL,
        document   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- A container's place in a network, from its creation on. An address is a lease: it is there
    -- while the container runs, or all the time where it was asked for by its number.
    CREATE TABLE endpoints (
        container_id TEXT NOT NULL,
        network_id   TEXT NOT NULL REFERENCES networks(id),
        position     INTEGER NOT NULL,  -- 0 is eth0
        document     TEXT NOT NULL,     -- what was asked of the network
        host_name    TEXT,              -- of the link's end on the host, while there is one
        address      TEXT,
        address6     TEXT,
        PRIMARY KEY (container_id, network_id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX endpoints_by_address ON endpoints(network_id, address);
    CREATE UNIQUE INDEX endpoints_by_address6 ON endpoints(network_id, address6);

    -- Ports of the host's that running containers answer.
    CREATE TABLE published_ports (
        protocol       TEXT NOT NULL,
        host           TEXT NOT NULL,   -- an address, or 0.0.0.0 or :: for each of its family
        host_port      INTEGER NOT NULL,
        container_id   TEXT NOT NULL,
        network_id     TEXT NOT NULL,
        container      TEXT NOT NULL,   -- its address
        container_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host, host_port)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX published_ports_by_container ON published_ports(container_id);
    """,
    """
    -- Bearer tokens of callers who come over TCP.
    CREATE TABLE tokens (
        name       TEXT PRIMARY KEY,
        hash       BLOB NOT NULL UNIQUE,  -- SHA-256 of the token
        scope      TEXT NOT NULL,         -- metrics, read or control
        created_ns INTEGER NOT NULL,
        expires_ns INTEGER                -- null: never
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- Idempotency keys of requests that have made something, for a day.
    CREATE TABLE request_keys (
        caller      TEXT NOT NULL,
        key         TEXT NOT NULL,
        fingerprint BLOB NOT NULL,        -- SHA-256 of path and body
        object      TEXT NOT NULL,        -- what was made: an id, or the name of a volume
        made_ns     INTEGER NOT NULL,
        answer      TEXT,                 -- JSON; null: the agent died before it had one
        PRIMARY KEY (caller, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX request_keys_by_time ON request_keys(made_ns);
    """,
    """
    -- Results of builds' steps: what they are made of, and what they came to.
    CREATE TABLE build_steps (
        key        TEXT PRIMARY KEY,
        chain_id   TEXT,               -- of its layer; null: it changed no file
        diff_id    TEXT,               -- of the layer, and the digest of its blob
        size_bytes INTEGER NOT NULL,   -- of the layer's files
        history    TEXT NOT NULL,      -- JSON: its entry in an image's history
        created_ns INTEGER NOT NULL,
        used_ns    INTEGER NOT NULL,
        uses       INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX build_steps_by_chain ON build_steps(chain_id);
    """,
    """
    -- What containers have used, over their restarts and over removals.
    CREATE TABLE container_usage (
        name       TEXT NOT NULL,
        image      TEXT NOT NULL,      -- as the container was asked for with it
        document   TEXT NOT NULL,      -- JSON: histograms and peaks by resource
        updated_ns INTEGER NOT NULL,
        PRIMARY KEY (name, image)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX container_usage_by_time ON container_usage(updated_ns);
    """,
    """
    -- Rulesets that were added by a request; those of the settings are in their files.
    CREATE TABLE rulesets (
        name       TEXT PRIMARY KEY,
        document   TEXT NOT NULL,      -- JSON: the table as it was asked for
        created_ns INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- What rulesets hold somebody to. A row is here before that begins, and until it has ended.
    CREATE TABLE policy_holds (
        policy     TEXT NOT NULL,
        watched    TEXT NOT NULL,      -- the key of the target that was looked at
        grade      INTEGER NOT NULL,
        victim     TEXT NOT NULL,      -- the key of the target that is held
        action     TEXT NOT NULL,
        since_ns   INTEGER NOT NULL,
        document   TEXT NOT NULL,      -- JSON: what undoing it takes
        PRIMARY KEY (policy, watched, grade, victim)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE decisions (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ns    INTEGER NOT NULL,
        policy     TEXT NOT NULL,
        watched    TEXT NOT NULL,
        action     TEXT NOT NULL,
        container  TEXT NOT NULL,      -- an id; empty: it is about something else
        of_group   TEXT NOT NULL,      -- a name, of a group of containers; empty: likewise
        target     TEXT NOT NULL,
        outcome    TEXT NOT NULL,
        reason     TEXT NOT NULL
    ) STRICT;
    """,
    """
    -- Groups of containers: cgroups with shared limits, which have a name.
    CREATE TABLE container_groups (
        name       TEXT PRIMARY KEY,   -- PARENT/NAME of one in another
        created_ns INTEGER NOT NULL,
        document   TEXT NOT NULL       -- JSON: what was asked for, and its state
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- What the agent does for targets by itself (budgets, automatic sizes), over its restarts.
    CREATE TABLE target_states (
        kind       TEXT NOT NULL,      -- budget, auto-size
        target     TEXT NOT NULL,      -- a key: container:ID
        document   TEXT NOT NULL,      -- JSON
        PRIMARY KEY (kind, target)
    ) STRICT, WITHOUT ROWID;
    """,
)
