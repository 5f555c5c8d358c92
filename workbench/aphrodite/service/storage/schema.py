"""The tables, as steps from one version of the file to the next; `PRAGMA user_version` counts the steps taken."""

from __future__ import annotations

#: Never edited once released: a change is one more step.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE responses (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            id TEXT NOT NULL,
            previous TEXT,        -- the response it goes on from
            owner TEXT NOT NULL,  -- the instance that makes it
            status TEXT NOT NULL,
            body BLOB NOT NULL,   -- the response object, JSON
            input BLOB NOT NULL,  -- its own input items, JSON
            UNIQUE (tenant, id)
        )""",
        """CREATE TABLE conversations (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            id TEXT NOT NULL,
            created INTEGER NOT NULL,
            metadata BLOB NOT NULL,
            UNIQUE (tenant, id)
        )""",
        """CREATE TABLE messages (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            session TEXT NOT NULL,  -- a conversation, or what a caller calls one
            id TEXT NOT NULL,
            body BLOB NOT NULL
        )""",
        "CREATE INDEX messages_by_id ON messages (tenant, session, id)",
        "CREATE INDEX messages_in_order ON messages (tenant, session, sequence)",
        """CREATE TABLE files (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            id TEXT NOT NULL,
            created INTEGER NOT NULL,
            filename TEXT NOT NULL,  -- a label: the bytes lie under the id
            purpose TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            UNIQUE (tenant, id)
        )""",
        """CREATE TABLE batches (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,  -- the instance that runs it
            status TEXT NOT NULL,
            user TEXT NOT NULL,   -- the key that asked
            endpoint TEXT NOT NULL,
            input_file TEXT NOT NULL,
            created INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            total INTEGER NOT NULL DEFAULT 0,
            completed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            details BLOB NOT NULL  -- what only the batch object shows, JSON
        )""",
        "CREATE INDEX batches_of_tenant ON batches (tenant, sequence)",
        "CREATE INDEX batches_by_status ON batches (status)",
        """CREATE TABLE batch_lines (
            batch TEXT NOT NULL,
            line INTEGER NOT NULL,  -- from 1
            custom_id TEXT,         -- null where a line has none, or one that was there before
            start INTEGER NOT NULL, -- its place in the input file, in bytes
            length INTEGER NOT NULL,
            succeeded INTEGER,      -- null: not answered yet
            result BLOB,            -- one line of the output or the error file
            PRIMARY KEY (batch, line)
        )""",
        "CREATE UNIQUE INDEX batch_custom_ids ON batch_lines (batch, custom_id)",
        "CREATE INDEX batch_lines_to_do ON batch_lines (batch, line) WHERE succeeded IS NULL",
    ),
)
