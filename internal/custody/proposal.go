package custody

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/record"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
)

// Bounds of a proposal.
const (
	MaxBytes    = 900 << 20 // of its encoded form
	MaxRoles    = 1_100_000 // roles that the registry key signs: bins and unclaimed projects, after a change of that key all of them
	MaxRequests = 1024      // signing requests of maintainers
	MaxSittings = 8         // signing requests of operators
	MaxEntries  = 70_000    // of the record
	MaxDeleted  = 100_000   // files
	MaxAge      = time.Hour // between the time of a proposal and the clock of the signer, in either direction
	maxSigs     = 32        // on one role
	maxSig      = 2048      // bytes of one
	maxLine     = 64 << 20  // bytes of one line: the largest role
)

// Proposal is a whole publication before its missing signatures. Make one by filling its fields, or with
// [Decode]. It is not changed afterwards.
type Proposal struct {
	Repository  [32]byte  // SHA-256 of the file 1.root.json
	Number      int64     // version of the snapshot that it makes
	Publication int64     // number of the publication, as the record's new entries say it
	Base        [32]byte  // SHA-256 of the published snapshot on which it is based
	Time        time.Time // of the publication; UTC, whole seconds

	// Roles are new versions that the registry key signs: unclaimed bins, and projects that nobody has
	// claimed.
	Roles []Role
	// Snapshot is the new snapshot.
	Snapshot Role
	// Requests are those of maintainers whose roles are published with it, Sittings those of operators.
	Requests []*ceremony.Request
	Sittings []*sitting.Request
	// Deleted are the files of projects without maintainers that somebody has deleted. It is the server's word;
	// what is gone without being named here has vanished. Their names are never used again.
	Deleted []tuf.TargetPath
	// Record are the entries that it appends to the record.
	Record []record.Entry
}

// Role is a new version of a role.
type Role struct {
	Name    tuf.RoleName
	Message []byte // canonical "signed" object
	// Signatures are those that the server made itself, because the key is in its own custody. Without
	// any, the signer is asked for them.
	Signatures []tuf.Signature
}

// ID names an encoded proposal: its SHA-256.
func ID(encoded []byte) [32]byte { return sha256.Sum256(encoded) }

// ShortID is how people see an [ID].
func ShortID(id [32]byte) string { return hex.EncodeToString(id[:8]) }
