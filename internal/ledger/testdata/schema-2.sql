-- A ledger as the program with schema 2 made it. Never change this file.
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

-- Schema 2.

-- 1: the newest version is signed by a project's maintainers, and not renewed by the registry.
ALTER TABLE roles ADD COLUMN maintained INTEGER NOT NULL DEFAULT 0;

-- Key ids, one a line, that signed the role in which the file first appeared; none: the registry.
ALTER TABLE filenames ADD COLUMN signers TEXT NOT NULL DEFAULT '';

-- Files that were uploaded and wait for a signature. One name may wait with several contents.
CREATE TABLE staged (
    id              INTEGER PRIMARY KEY,  -- in order of arrival
    filename        TEXT    NOT NULL,
    project         TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    metadata_sha256 BLOB    CHECK (length(metadata_sha256) = 32),
    requires_python TEXT    NOT NULL,
    uploaded        INTEGER NOT NULL,
    uploader        TEXT    NOT NULL,
    UNIQUE (filename, sha256)
) STRICT;
CREATE INDEX staged_by_project ON staged (project, filename);
CREATE INDEX staged_by_age ON staged (uploaded);

-- Signing requests that wait, and the signatures that were added to them.
CREATE TABLE requests (
    number   INTEGER PRIMARY KEY,  -- in order of arrival
    id       TEXT    NOT NULL UNIQUE,
    project  TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    token    TEXT    NOT NULL,
    received INTEGER NOT NULL,
    expires  INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_by_project ON requests (project);
CREATE INDEX requests_by_expiry ON requests (expires);

CREATE TABLE signatures (
    request INTEGER NOT NULL REFERENCES requests (number) ON DELETE CASCADE,
    role    TEXT    NOT NULL,
    keyid   TEXT    NOT NULL,
    sig     BLOB    NOT NULL,
    PRIMARY KEY (request, role, keyid)
) STRICT, WITHOUT ROWID;

-- What happened to projects; only ever appended to.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    project     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    time        INTEGER NOT NULL,
    publication INTEGER NOT NULL,
    token       TEXT    NOT NULL,
    request     TEXT    NOT NULL,
    keys        TEXT    NOT NULL,  -- key ids, one a line
    text        TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_project ON events (project);
PRAGMA application_id=1112299339;
PRAGMA user_version=2;
INSERT INTO publications VALUES (1, 1700000000000000), (2, 1700000001000000);
INSERT INTO roles VALUES (1, 'root', 1, 1800000000000000, 1, 0), (2, 'project.a', 2, 1800000000000000, 3, 1), (3, 'timestamp', 2, 1800000000000000, 4, 0);
INSERT INTO metadata VALUES
    (1, 1, 1, 1, 1700000000000000, 1800000000000000, x'726f6f742031'),
    (2, 2, 1, 1, 1700000000000000, 1800000000000000, x'612031'),
    (3, 2, 2, 2, 1700000001000000, 1800000000000000, x'612032'),
    (4, 3, 2, 2, 1700000001000000, 1800000000000000, x'74696d657374616d702032');
INSERT INTO superseded VALUES (0, 1700000001000000, 2);
INSERT INTO filenames VALUES ('a-1.tar.gz', 'a', '1', 7, x'0000000000000000000000000000000000000000000000000000000000000001', NULL, '>=3.9', 1700000001000000, 'token', 2, 'one
two');
INSERT INTO tokens VALUES (x'0000000000000000000000000000000000000000000000000000000000000002', 'token', NULL, 'note', 1700000000000000, 0);
INSERT INTO staged VALUES (1, 'a-2.tar.gz', 'a', '2', 8, x'0000000000000000000000000000000000000000000000000000000000000003', NULL, '', 1700000001000000, 'token');
INSERT INTO requests VALUES (1, 'request', 'a', x'626f6479', 'token', 1700000001000000, 1800000000000000);
INSERT INTO signatures VALUES (1, 'project.a', 'one', x'01');
INSERT INTO events VALUES (1, 'a', 'claimed', 1700000001000000, 2, 'token', 'request', 'one', 'text');
COMMIT;
PRAGMA journal_mode=WAL;
