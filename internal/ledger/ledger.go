// Package ledger keeps everything that a repository published, its public record, its tokens, and what waits for
// the signatures of maintainers and operators: [SQLite] in one file for servers, [Memory] for tests. Both
// implement publish.Ledger, index.Tokens and index.Records, whose method comments are the contract;
// package ledgertest checks every promise of it on both.
//
// What always holds in a SQLite ledger:
//
//   - A publication is one transaction, written through to the disk before Commit returns
//     (write-ahead log, synchronous=FULL). After a crash the file holds whole publications only.
//   - One connection writes; readers have their own and never wait for it, nor it for them. A
//     reader sees the state at the moment its query began.
//   - The newest version of a role and all versions of root can not be removed: only rows listed in
//     the table "superseded" ever are, and these never get there.
//   - The schema carries a number that only rises. A file of a newer Bailiwick is refused, not
//     guessed at.
//   - Tokens are found by the hash of their secret; the secret itself never reaches this package.
//
// Times are kept to the microsecond, in UTC. All methods may be called concurrently. A second process
// may have the same file open, a command beside a server: SQLite's locks keep their transactions
// apart, and a publisher that was overtaken is told so by ErrConflict.
package ledger

import (
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf"
)

// Errors of opening and of every method of [SQLite]; durable.ErrNoSpace is one more. They are
// wrapped in an error that names the file and what was being done.
var (
	// ErrNotLedger: the file is something else, or its making was cut short.
	ErrNotLedger = errors.New("not a bailiwick ledger")
	// ErrNewer: the ledger was written by a newer Bailiwick.
	ErrNewer = errors.New("written by a newer bailiwick: use that one")
	// ErrDamaged: the file contradicts itself.
	ErrDamaged = errors.New("the ledger is damaged: stop the server and restore the file from a backup")
	// ErrReadOnly: the file or its folder can not be written.
	ErrReadOnly = errors.New("the ledger can not be written: check the owner and mode of the file, and whether its file system is mounted read-only")
	// ErrBusy: another program held the file for longer than five seconds.
	ErrBusy = errors.New("another program keeps the ledger locked: close it and try again")
	// ErrClosed: the ledger was closed.
	ErrClosed = errors.New("the ledger is closed")
)

// Both ledgers are what the engines ask for.
var (
	_ publish.Ledger    = (*SQLite)(nil)
	_ publish.Proposals = (*SQLite)(nil)
	_ index.Tokens      = (*SQLite)(nil)
	_ index.Records     = (*SQLite)(nil)
	_ publish.Ledger    = (*Memory)(nil)
	_ publish.Proposals = (*Memory)(nil)
	_ index.Tokens      = (*Memory)(nil)
	_ index.Records     = (*Memory)(nil)
)

// A role whose versions are many and large, or of no use once they are old, because it pins the
// others anew in every publication. They are pruned by a cut-off of their own.
func isPinner(role tuf.RoleName) bool {
	return role == tuf.RoleSnapshot || role == tuf.RoleTimestamp
}

// check refuses what no ledger can keep, whatever the caller meant by it.
func check(p *publish.Publication) error {
	for _, m := range p.Metadata {
		if m.Role == "" || m.Version < 1 {
			return fmt.Errorf("role %q version %d: a role has a name and a version from 1 up", m.Role, m.Version)
		}
	}
	for _, f := range p.Files {
		if f.Filename.IsZero() || f.Project.IsZero() {
			return fmt.Errorf("file %q of project %q: both names are needed", f.Filename, f.Project)
		}
	}
	for i := range p.Events {
		if err := checkEvent(&p.Events[i]); err != nil {
			return err
		}
	}
	return checkRecord(p)
}

func checkEvent(e *publish.Event) error {
	if e.Project.IsZero() || e.Kind == "" {
		return fmt.Errorf("an event of kind %q of project %q: both are needed", e.Kind, e.Project)
	}
	return nil
}

// Conflicts, worded alike by both ledgers.

func numberConflict(number, head int64) error {
	return fmt.Errorf("publication %d does not follow the newest one, %d: %w", number, head, publish.ErrConflict)
}

func versionConflict(m *publish.Metadata, newest int64) error {
	return fmt.Errorf("version %d of role %s does not follow the newest one, %d: %w", m.Version, m.Role, newest, publish.ErrConflict)
}

func filenameConflict(f *publish.File) error {
	return fmt.Errorf("file name %s was used before: %w", f.Filename, publish.ErrConflict)
}

// stamp and unstamp convert between times and the integers that are stored: microseconds since
// 1970, UTC. The zero time survives the round trip.

func stamp(t time.Time) int64 { return t.UnixMicro() }

func unstamp(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
