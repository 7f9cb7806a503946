package repo

import (
	"fmt"

	"example.com/bailiwick/tuf"
)

// NewTimestamp drafts a timestamp from nothing that pins the snapshot: by version
// alone, or also by length and hashes (see [MetaOf]), which lets nobody
// replace the snapshot without the timestamp key.
func NewTimestamp(snapshot tuf.Meta, issue Issue) (*Draft, error) {
	if err := issue.check(tuf.RoleTimestamp); err != nil {
		return nil, err
	}
	return draftTimestamp(blank(tuf.RoleTimestamp), snapshot, &issue)
}

// EditTimestamp drafts the successor of base, pinning the snapshot. Its version may
// stay but not go back ([ErrVersion]).
func EditTimestamp(base *tuf.Timestamp, snapshot tuf.Meta, issue Issue) (*Draft, error) {
	if err := issue.succeeds(tuf.RoleTimestamp, base.Version()); err != nil {
		return nil, err
	}
	if pinned := base.Snapshot().Version; snapshot.Version < pinned {
		return nil, fmt.Errorf("editing timestamp: it pins snapshot version %d, %d would be a rollback: %w", pinned, snapshot.Version, ErrVersion)
	}
	signed, err := canonicalSigned(base.Bytes())
	if err != nil {
		return nil, fmt.Errorf("editing timestamp: %w", err)
	}
	return draftTimestamp(signed, snapshot, &issue)
}

func draftTimestamp(signed []byte, snapshot tuf.Meta, issue *Issue) (*Draft, error) {
	entry, err := encodeMeta(snapshot)
	if err != nil {
		return nil, fmt.Errorf("editing timestamp: %w", err)
	}
	changes := append(issue.header(), change{"meta", func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte("{}")
		}
		return splice(nil, old, []change{{"snapshot.json", func(old []byte) ([]byte, error) {
			if old == nil {
				old = []byte("{}")
			}
			return splice(nil, old, entry)
		}}})
	}})
	message, err := splice(nil, signed, changes)
	if err != nil {
		return nil, fmt.Errorf("editing timestamp: %w", baseError(err))
	}
	return newDraft(tuf.RoleTimestamp, issue, message, 0)
}

// encodeMeta returns the changes that make an entry say m.
func encodeMeta(m tuf.Meta) ([]change, error) {
	if m.Version < 1 || m.Version > maxVersion {
		return nil, fmt.Errorf("pinning snapshot version %d: %w", m.Version, ErrVersion)
	}
	if m.Length > maxVersion {
		return nil, fmt.Errorf("pinning snapshot of length %d: %w", m.Length, ErrTarget)
	}
	changes := []change{put("version", number(m.Version)), drop("length"), drop("hashes")}
	// A file of no bytes is no metadata: zero is the value of a Meta without length.
	if m.Length > 0 {
		changes[1] = put("length", number(m.Length))
	}
	if !m.Hashes.IsZero() {
		if err := checkHashes(m.Hashes); err != nil {
			return nil, fmt.Errorf("pinning snapshot version %d: %w", m.Version, err)
		}
		changes[2] = put("hashes", tuf.AppendHashes(nil, m.Hashes))
	}
	return changes, nil
}
