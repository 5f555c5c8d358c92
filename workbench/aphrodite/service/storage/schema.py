"""The tables, as steps from one version of the file to the next; `PRAGMA user_version` counts the steps taken."""

from __future__ import annotations


def _counted(table: str, size: str) -> tuple[str, ...]:
    """Triggers that keep `holdings` true whatever changes the table; `size` says `row.` where a row stands."""
    new, old = size.replace("row.", "new."), size.replace("row.", "old.")
    holding = f"tenant = {{}}.tenant AND kind = '{table}'"
    return (
        f"""CREATE TRIGGER {table}_come AFTER INSERT ON {table} BEGIN
            INSERT INTO holdings (tenant, kind, items, bytes) VALUES (new.tenant, '{table}', 1, {new})
            ON CONFLICT (tenant, kind) DO UPDATE SET items = items + 1, bytes = bytes + excluded.bytes;
        END""",
        f"""CREATE TRIGGER {table}_change AFTER UPDATE ON {table} BEGIN
            UPDATE holdings SET bytes = bytes + {new} - {old} WHERE {holding.format("new")};
        END""",
        f"""CREATE TRIGGER {table}_go AFTER DELETE ON {table} BEGIN
            UPDATE holdings SET items = items - 1, bytes = bytes - {old} WHERE {holding.format("old")};
        END""",
        f"""INSERT INTO holdings (tenant, kind, items, bytes)
            SELECT tenant, '{table}', count(*), sum({size.replace("row.", "")}) FROM {table} GROUP BY tenant""",
    )


_NOW = "CAST(strftime('%s', 'now') AS INTEGER)"

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
    (
        "ALTER TABLE responses ADD COLUMN created INTEGER NOT NULL DEFAULT 0",
        f"UPDATE responses SET created = {_NOW}",  # what was there before is as old as this step
        "CREATE INDEX responses_by_age ON responses (created)",
        "ALTER TABLE messages ADD COLUMN created INTEGER NOT NULL DEFAULT 0",
        f"UPDATE messages SET created = {_NOW}",
        "CREATE INDEX messages_by_age ON messages (tenant, session, created)",
        "ALTER TABLE batches ADD COLUMN input_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE batches ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE batches ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE batches ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE holdings (  -- how much each tenant keeps
            tenant TEXT NOT NULL,
            kind TEXT NOT NULL,
            items INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (tenant, kind)
        ) WITHOUT ROWID""",
        *_counted("responses", "(length(row.body) + length(row.input))"),
        *_counted("messages", "length(row.body)"),
        *_counted("files", "row.bytes"),
        *_counted("batches", "length(row.details)"),
    ),
)
