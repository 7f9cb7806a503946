-- A ledger as the first released program made it. Never change this file.
BEGIN IMMEDIATE;
-- Schema 1 of a ledger. Times are microseconds since 1970, UTC.
--
-- Pruning makes room inside the file; the file itself does not shrink.
--
-- Rows that grow with every publication are appended (publications, metadata), so that a commit
-- writes few pages: one for each row's data, one for each index entry of a random key.

CREATE TABLE publications (
    number INTEGER PRIMARY KEY,  -- 1, 2, 3 …; never removed
    time   INTEGER NOT NULL
) STRICT;

-- One row for each role, with its newest version. Narrow, so that all roles can be listed without
-- touching metadata.
CREATE TABLE roles (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    version  INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    metadata INTEGER NOT NULL    -- id of the newest version in metadata
) STRICT;

CREATE TABLE metadata (
    id          INTEGER PRIMARY KEY,  -- in order of writing
    role        INTEGER NOT NULL REFERENCES roles (id),
    version     INTEGER NOT NULL,
    publication INTEGER NOT NULL REFERENCES publications (number),
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    bytes       BLOB    NOT NULL,     -- the signed file as clients get it
    UNIQUE (role, version)
) STRICT;

-- What Prune may remove: versions that a newer one replaced, and when. Versions of root are never
-- listed. pinner is 1 for snapshot and timestamp, which have a cut-off of their own.
CREATE TABLE superseded (
    pinner   INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    metadata INTEGER NOT NULL,
    PRIMARY KEY (pinner, time, metadata)
) STRICT, WITHOUT ROWID;

-- Every file name that was ever published; never removed, because a name is used once.
CREATE TABLE filenames (
    filename        TEXT    PRIMARY KEY,
    project         TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    metadata_sha256 BLOB    CHECK (length(metadata_sha256) = 32),
    requires_python TEXT    NOT NULL,
    uploaded        INTEGER NOT NULL,
    uploader        TEXT    NOT NULL,
    publication     INTEGER NOT NULL REFERENCES publications (number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    hash     BLOB    PRIMARY KEY CHECK (length(hash) = 32),  -- SHA-256 of the secret
    id       TEXT    NOT NULL,
    projects TEXT,               -- one name a line; NULL: every project
    note     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    revoked  INTEGER NOT NULL    -- the zero time (year 1): still good
) STRICT;
PRAGMA application_id=1112299339;
PRAGMA user_version=1;
INSERT INTO publications VALUES (1, 1700000000000000), (2, 1700000001000000);
INSERT INTO roles VALUES (1, 'root', 1, 1800000000000000, 1), (2, 'project.a', 2, 1800000000000000, 3), (3, 'timestamp', 2, 1800000000000000, 4);
INSERT INTO metadata VALUES
    (1, 1, 1, 1, 1700000000000000, 1800000000000000, x'726f6f742031'),
    (2, 2, 1, 1, 1700000000000000, 1800000000000000, x'612031'),
    (3, 2, 2, 2, 1700000001000000, 1800000000000000, x'612032'),
    (4, 3, 2, 2, 1700000001000000, 1800000000000000, x'74696d657374616d702032');
INSERT INTO superseded VALUES (0, 1700000001000000, 2);
INSERT INTO filenames VALUES ('a-1.tar.gz', 'a', '1', 7, x'0000000000000000000000000000000000000000000000000000000000000001', NULL, '>=3.9', 1700000001000000, 'token', 2);
INSERT INTO tokens VALUES (x'0000000000000000000000000000000000000000000000000000000000000002', 'token', NULL, 'note', 1700000000000000, 0);
COMMIT;
PRAGMA journal_mode=WAL;
