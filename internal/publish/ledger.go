package publish

import (
	"context"
	"errors"
	"time"

	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// Errors of a [Ledger]. An implementation wraps them; callers test with errors.Is.
var (
	// ErrNoRepository: the ledger is empty; [Create] has never succeeded on it.
	ErrNoRepository = errors.New("no repository here yet")
	// ErrConflict: a publication does not follow the head of the ledger; somebody else published.
	ErrConflict = errors.New("another publisher wrote to this ledger")
	// ErrNotFound: the ledger holds no such metadata version, or no file ever had this name.
	ErrNotFound = errors.New("not in the ledger")
)

// Head says where a ledger stands: the newest publication and what it pins.
type Head struct {
	Number   int64     // of the newest publication, which is the version of its timestamp role
	Time     time.Time // when it was published, UTC, whole seconds
	Root     int64     // newest version of root
	Snapshot int64     // newest version of snapshot
	// Record is the head of the record. The newest snapshot carries the same one.
	Record record.Head
}

// Metadata is one version of one role as clients fetch it.
type Metadata struct {
	Role    tuf.RoleName
	Version int64     // 1 or higher
	Expires time.Time // UTC, whole seconds
	Bytes   []byte    // the signed file, byte for byte; nobody may change them
	// Maintained: the maintainers of a project signed it, not the registry key. Committed, and kept
	// for the newest version of each role; not returned with old metadata.
	Maintained bool
}

// File is one distribution file that was published once. It stays in the ledger when the file is
// deleted from its project, because a file name is never used a second time.
type File struct {
	Filename       pypi.Filename
	Project        pypi.Project
	Version        string // PEP 440, in normal form
	Size           int64  // bytes
	SHA256         [32]byte
	MetadataSHA256 *[32]byte // of the METADATA file kept beside it; nil if there is none
	RequiresPython string    // empty: any
	Uploaded       time.Time // UTC, whole seconds
	Uploader       string    // identifier of the token that uploaded it
	// Signers are the keys whose good signatures were on the version of the role in which the file
	// first appeared; none for files that the registry key signed then.
	Signers []key.ID
}

// Publication is one numbered, atomic change of the repository: every metadata file that it
// writes (timestamp always, snapshot nearly always) and every file name that it uses up.
type Publication struct {
	Number   int64      // previous number + 1; 1 creates the repository
	Time     time.Time  // UTC, whole seconds; never before the previous publication's
	Metadata []Metadata // at most one version of each role; each higher than any before it
	Files    []File     // newly used file names; empty for renewals, yanks and deletions
	Events   []Event    // what happened to claimed projects
	Closed   []string   // signing requests that this publication executes; unknown ones are passed over
	// Executed are signing requests of operators that it executes; unknown ones are passed over.
	Executed []string
	// Record are the entries that it appends to the record, numbered on from the newest.
	Record []RecordEntry
	// Recoveries are those that it announces, and those that it closes.
	Recoveries []Recovery
}

// RecordEntry is one line of the public record of what changed whose keys stand behind what.
type RecordEntry = record.Entry

// Recovery is the announcement that a project will get other keys, because its maintainers have lost
// theirs. It waits for its time, so that they can contradict by signing anything.
type Recovery struct {
	Project   pypi.Project
	Entry     int64         // number of the record's entry that announced it: its name for ever
	Announced time.Time     // UTC, whole seconds
	NotBefore time.Time     // it takes effect then at the earliest; UTC, whole seconds
	Keys      []*key.Public // that sign the project's role afterwards
	Threshold int
	Text      string // why, one line, as the record says it
	Token     string // identifier of the token that asked for it
	// Outcome is empty as long as it waits; then record.Recovered or record.RecoveryCancelled.
	Outcome record.Kind
	Closed  int64 // publication that ended it; 0 while it waits
}

// Role says which version of a role is the newest, and until when it is good.
type Role struct {
	Name    tuf.RoleName
	Version int64
	Expires time.Time
	// Maintained: signed by maintainers, so that the registry key must not renew it.
	Maintained bool
}

// Ledger keeps everything that was published. It is the only state of a repository apart from the
// files themselves, and a publication is one transaction of it: it happened, or it did not.
//
// All methods may be called concurrently. Only one [Publisher] commits; a second one is found out
// by the number of its publication. Values returned belong to the caller, except the bytes of
// metadata, which nobody may change; arguments are not kept after the call returns.
//
// An error that is none of the sentinels above (disk full, connection lost, corruption) says what
// happened and to what; the publisher passes it on to whoever waits, and tries again later.
type Ledger interface {
	// Head returns the newest publication, or ErrNoRepository on an empty ledger. What it returns
	// is durable: it survives a crash at any later moment.
	Head(ctx context.Context) (Head, error)

	// Roles returns the newest version of every role, root, snapshot and timestamp included,
	// sorted by name in byte order. It is empty for an empty ledger. It reads no metadata bytes.
	Roles(ctx context.Context) ([]Role, error)

	// Metadata returns one version of a role; version 0 means the newest. ErrNotFound if the role
	// or that version was never published or has been pruned.
	Metadata(ctx context.Context, role tuf.RoleName, version int64) (Metadata, error)

	// File returns what was published under a file name, deleted files included; ErrNotFound if
	// the name was never used. Names are compared as they are, byte by byte.
	File(ctx context.Context, name pypi.Filename) (File, error)

	// Commit writes a publication in one transaction. When it returns nil, the publication is
	// durable and Head, Roles, Metadata and File show it; in any other case nothing of it is
	// ever visible, except when the outcome itself is unknown (a connection lost while
	// committing): the publisher asks Head after every error. Commit returns ErrConflict unless
	// p.Number is the head's number + 1 (1 on an empty ledger), and for a role version or a file
	// name that is there already. The older versions of the roles in p become superseded at
	// p.Time. Where the ledger also keeps staged files, signing requests and events, the same
	// transaction drops every staged file whose name is in p.Files, drops the requests in p.Closed,
	// and appends p.Events. Likewise it marks the operators' requests in p.Executed as published, appends
	// p.Record (ErrConflict unless its entries are numbered on from the newest), and stores each of
	// p.Recoveries: ErrConflict for one without an outcome while another of the project waits, and for one with an
	// outcome that does not wait. It is never repeated with the same publication after ErrConflict.
	Commit(ctx context.Context, p *Publication) error

	// Prune removes superseded metadata: versions of snapshot and timestamp that were superseded
	// before pinners, and versions of every other role that were superseded before roles. It never
	// removes the newest version of any role, nor any version of root. It removes at most limit
	// versions, oldest first, in one transaction, and returns how many; fewer than limit means that
	// nothing more is due. Safe to repeat; a failed call has removed nothing.
	Prune(ctx context.Context, roles, pinners time.Time, limit int) (int, error)

	// Record returns entries of the record in their order, from the one with this number on (numbers
	// below 1 count as 1), at most limit of them; none past its end. Entries are never removed.
	Record(ctx context.Context, from int64, limit int) ([]RecordEntry, error)

	// Recoveries returns those that wait, oldest first.
	Recoveries(ctx context.Context) ([]Recovery, error)
}
