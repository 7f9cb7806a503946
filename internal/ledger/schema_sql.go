package ledger

// steps lead from an empty file to the newest schema: step i makes schema i+1 out of schema i. A step is
// never changed once it was released; a new ledger takes all of them, an older one the rest.
var steps = [schemaNumber]string{schema1, schema2, schema3}

// schema1 makes the first tables.
const schema1 = `
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
`

// schema2 adds what maintainers' signatures need.
const schema2 = `
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
`

// schema3 adds what operators sign, and the public record.
const schema3 = `
-- Schema 3.

-- What the token is good for: '' to upload, 'operator', 'signer'.
ALTER TABLE tokens ADD COLUMN rights TEXT NOT NULL DEFAULT '';

-- Signing requests of operators. Closed ones keep their row, and lose body and signatures.
CREATE TABLE operator_requests (
    number      INTEGER PRIMARY KEY,  -- in order of arrival
    id          TEXT    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL,
    summary     BLOB    NOT NULL,
    token       TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('open', 'published', 'aborted', 'expired')),
    publication INTEGER NOT NULL,     -- that executed it; 0: none
    closed      INTEGER NOT NULL      -- the zero time (year 1): still open
) STRICT;
CREATE INDEX operator_requests_by_state ON operator_requests (state, expires);

-- Their bodies, in pieces: a request over thousands of bins is larger than one value should be.
CREATE TABLE operator_bodies (
    request INTEGER NOT NULL REFERENCES operator_requests (number) ON DELETE CASCADE,
    part    INTEGER NOT NULL,         -- 0, 1, 2 ...
    bytes   BLOB    NOT NULL,
    UNIQUE (request, part)
) STRICT;

CREATE TABLE operator_signatures (
    request INTEGER NOT NULL REFERENCES operator_requests (number) ON DELETE CASCADE,
    role    TEXT    NOT NULL,
    keyid   TEXT    NOT NULL,
    sig     BLOB    NOT NULL,
    PRIMARY KEY (request, role, keyid)
) STRICT, WITHOUT ROWID;

-- The public record of what changed whose keys stand behind what; only ever appended to.
CREATE TABLE record (
    number      INTEGER PRIMARY KEY,  -- 1, 2, 3 ... without gaps
    publication INTEGER NOT NULL REFERENCES publications (number),
    time        INTEGER NOT NULL,
    body        BLOB    NOT NULL,     -- the entry in canonical form
    head        BLOB    NOT NULL CHECK (length(head) = 32)  -- of the chain, this entry included
) STRICT;

-- Announced changes of lost keys.
CREATE TABLE recoveries (
    entry      INTEGER PRIMARY KEY REFERENCES record (number),  -- that announced it
    project    TEXT    NOT NULL,
    announced  INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    keys       TEXT    NOT NULL,      -- JSON: [[keytype, scheme, public], ...]
    threshold  INTEGER NOT NULL,
    text       TEXT    NOT NULL,
    token      TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,      -- '': it waits
    closed     INTEGER NOT NULL       -- publication that ended it; 0: none
) STRICT;
CREATE UNIQUE INDEX recoveries_waiting ON recoveries (project) WHERE outcome = '';

-- Strict custody: the publication that the isolated signer is asked to sign, in pieces. One at most.
CREATE TABLE proposals (
    number INTEGER NOT NULL,          -- version of the snapshot that it makes
    kind   INTEGER NOT NULL,          -- 0: what is sent; 1: what is committed with the answer
    part   INTEGER NOT NULL,          -- 0, 1, 2 ...
    bytes  BLOB    NOT NULL,
    UNIQUE (number, kind, part)
) STRICT;

-- Strict custody: accepted changes that wait for the signer to be there.
CREATE TABLE waiting (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    name     TEXT    NOT NULL UNIQUE,            -- one change of each name waits
    project  TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    token    TEXT    NOT NULL,
    received INTEGER NOT NULL
) STRICT;
`
