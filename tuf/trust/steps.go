package trust

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// This file holds the checks of the specification, one function per step, in
// its order. They decide; the stages in update.go say when each is asked.

// noMeta is the entry of a file about which nothing is listed.
var noMeta = tuf.Meta{Length: -1}

// parse is one of the parse functions of package tuf.
type parse[T any] func([]byte, *tuf.Limits) (*tuf.Unverified[T], error)

// expected is what is known about a file before it is looked at, and the steps
// that hold its bytes against that.
type expected struct {
	role       tuf.RoleName
	meta       tuf.Meta // what its parent lists; noMeta if nothing
	limit      int64    // whatever length is listed
	lengthStep string
	hashStep   string
}

// opened turns bytes into unverified metadata, after the checks that need no
// parsing.
func opened[T any](data []byte, x expected, l *tuf.Limits, p parse[T]) (*tuf.Unverified[T], error) {
	if err := checkBytes(data, x); err != nil {
		return nil, err
	}
	return parsed(data, x.role, x.meta, l, p)
}

// verified opens a file whose signers are known before it is read, and verifies that a
// threshold of them signed (5.4.2, 5.5.3, 5.6.3). Its signatures are checked while it is parsed. What is wrong with it is told in
// the order of the steps all the same.
func verified[T any](data []byte, x expected, l *tuf.Limits, p parse[T], a tuf.Authority, step string) (*tuf.Unverified[T], *T, error) {
	if err := checkBytes(data, x); err != nil {
		return nil, nil, err
	}
	ahead := tuf.VerifyAhead(data, l, a)
	u, err := parsed(data, x.role, x.meta, l, p)
	if err != nil {
		return nil, nil, err
	}
	v, err := u.VerifyAfter(ahead)
	return u, v, unsigned(err, x.role, u.Header().Version, step)
}

// checkBytes asks what needs no parsing.
func checkBytes(data []byte, x expected) error {
	if err := checkLength(data, x.role, x.meta, x.limit, x.lengthStep); err != nil {
		return err
	}
	return checkHashes(data, x.role, x.meta, x.hashStep)
}

// parsed is section 4: well-formed metadata of the role's type, in a version of
// the specification that we speak.
func parsed[T any](data []byte, role tuf.RoleName, meta tuf.Meta, l *tuf.Limits, p parse[T]) (*tuf.Unverified[T], error) {
	u, err := p(data, l)
	switch {
	case errors.Is(err, tuf.ErrUnsupported):
		return nil, refuse(Unsupported, role, meta.Version, "4.3", "%w", err)
	case err != nil:
		return nil, refuse(Malformed, role, meta.Version, "4.3", "%w", err)
	}
	return u, nil
}

// checkLength is the second half of 5.3.3, 5.4.1, 5.5.1 and 5.6.1: no more bytes
// than we accept, and exactly as many as listed, if that is.
func checkLength(data []byte, role tuf.RoleName, meta tuf.Meta, limit int64, step string) error {
	n := int64(len(data))
	if meta.Length >= 0 && n != meta.Length {
		return refuse(Length, role, meta.Version, step, "%d bytes, listed with %d", n, meta.Length)
	}
	if n > limit {
		return refuse(Length, role, meta.Version, step, "more than the %d bytes that are accepted", limit)
	}
	return nil
}

// checkHashes is 5.5.2 and 5.6.2, before anything parses the bytes.
func checkHashes(data []byte, role tuf.RoleName, meta tuf.Meta, step string) error {
	if meta.Hashes.IsZero() {
		return nil
	}
	err := meta.Hashes.Check(data)
	switch {
	case errors.Is(err, tuf.ErrUnsupported):
		return refuse(Unsupported, role, meta.Version, step, "%w", err)
	case err != nil:
		return refuse(Hash, role, meta.Version, step, "%w", err)
	}
	return nil
}

// signed verifies that a threshold of the keys of root signed. It is 5.2 and 5.3.4;
// verified is 5.4.2, 5.5.3 and 5.6.3. Both ask package tuf, which counts in one routine for
// every role, because each copy of it elsewhere had its own way to count a key twice.
func signed[T any](u *tuf.Unverified[T], a tuf.Authority, role tuf.RoleName, step string) (*T, error) {
	v, err := u.Verify(a)
	return v, unsigned(err, role, u.Header().Version, step)
}

// unsigned makes a refusal of what Verify returned, nil included.
func unsigned(err error, role tuf.RoleName, version int64, step string) error {
	var few *tuf.ThresholdError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &few):
		return refuse(Threshold, role, version, step, "%w", err)
	}
	return refuse(Malformed, role, version, step, "%w", err)
}

// authority returns who signs a top-level role. A verified root names all four.
func authority(root *tuf.Root, role tuf.RoleName) tuf.Authority {
	a, _ := root.Authority(role)
	return a
}

// rootSignedBySelf is 5.2 for the anchor. It proves nothing about who made it,
// which is what "out of band" is for; it catches a damaged file before any
// request is made. For a later root it is the second half of 5.3.4.
func rootSignedBySelf(u *tuf.Unverified[tuf.Root], step string) (*tuf.Root, error) {
	root, err := signed(u, tuf.SelfAuthority(u), tuf.RoleRoot, step)
	if err != nil {
		return nil, becauseOf(err, "by its own keys")
	}
	return root, nil
}

// rootSignedByBoth is 5.3.4: a threshold of the keys of root N, so that nobody
// else can replace it, and of its own, so that its keys are known to work.
func rootSignedByBoth(u *tuf.Unverified[tuf.Root], old *tuf.Root) (*tuf.Root, error) {
	if _, err := signed(u, authority(old, tuf.RoleRoot), tuf.RoleRoot, "5.3.4"); err != nil {
		return nil, becauseOf(err, fmt.Sprintf("by the keys of root version %d", old.Version()))
	}
	return rootSignedBySelf(u, "5.3.4")
}

// becauseOf says in a refusal whose keys were meant.
func becauseOf(err error, whose string) error {
	var r *RefusedError
	if !errors.As(err, &r) {
		return err
	}
	out := *r
	out.Err = fmt.Errorf("%s: %w", whose, r.Err)
	return &out
}

// rootIsNext is 5.3.5: exactly one higher, so that no root is skipped.
func rootIsNext(next, old *tuf.Root) error {
	if next.Version() == old.Version()+1 {
		return nil
	}
	return refuse(Version, tuf.RoleRoot, next.Version(), "5.3.5", "after root version %d, version %d was asked for", old.Version(), old.Version()+1)
}

// unexpired is 5.3.10, 5.4.4, 5.5.6 and 5.6.5: it must expire strictly after
// the one start time of the update.
func unexpired(expires time.Time, role tuf.RoleName, version int64, start time.Time, step string) error {
	if expires.After(start) {
		return nil
	}
	return refuse(Expired, role, version, step, "expired at %s, and this update began at %s",
		expires.UTC().Format(time.RFC3339), start.UTC().Format(time.RFC3339))
}

// Rotated is 5.3.11: whether between two roots the keys or the threshold of
// timestamp or snapshot changed. Then both stored files must go: whoever held
// the old keys may have raised versions so far that honest ones never catch up.
func Rotated(old, next *tuf.Root) bool {
	return !authority(old, tuf.RoleTimestamp).Equal(authority(next, tuf.RoleTimestamp)) ||
		!authority(old, tuf.RoleSnapshot).Equal(authority(next, tuf.RoleSnapshot))
}

// timestampNotOlder is 5.4.3.1. keep says that the version is the trusted one:
// the new file is dropped, whatever it holds.
func timestampNotOlder(next, old *tuf.Timestamp) (keep bool, err error) {
	switch {
	case old == nil || next.Version() > old.Version():
		return false, nil
	case next.Version() == old.Version():
		return true, nil
	}
	return false, refuse(Rollback, tuf.RoleTimestamp, next.Version(), "5.4.3.1", "version %d was trusted before", old.Version())
}

// timestampPinsNoOlderSnapshot is 5.4.3.2.
func timestampPinsNoOlderSnapshot(next, old *tuf.Timestamp) error {
	if old == nil || next.Snapshot().Version >= old.Snapshot().Version {
		return nil
	}
	return refuse(Rollback, tuf.RoleTimestamp, next.Version(), "5.4.3.2", "it lists snapshot version %d, and version %d was listed before",
		next.Snapshot().Version, old.Snapshot().Version)
}

// versionIsPinned is 5.5.4 and 5.6.4: parts of two moments do not mix.
func versionIsPinned(version int64, role tuf.RoleName, meta tuf.Meta, step string) error {
	if version == meta.Version {
		return nil
	}
	return refuse(MixAndMatch, role, version, step, "version %d is listed", meta.Version)
}

// snapshotNotOlder is 5.5.5: every role that was listed still is, and none at a
// lower version. Both snapshots are sorted by name, so this is one merge.
// Beyond the text, the snapshot itself must not be older than a trusted one
// either, which matters when the stored timestamp is lost.
func snapshotNotOlder(next, old *tuf.Snapshot) error {
	if old == nil {
		return nil
	}
	if next.Version() < old.Version() {
		return refuse(Rollback, tuf.RoleSnapshot, next.Version(), "5.5.5", "version %d was trusted before", old.Version())
	}
	if bytes.Equal(next.Bytes(), old.Bytes()) {
		return nil
	}
	for c := range next.Changes(old) {
		switch {
		case c.Old == 0 || c.New >= c.Old:
		case c.New == 0:
			return refuse(Rollback, tuf.RoleSnapshot, next.Version(), "5.5.5", "it no longer lists %q, which was at version %d", c.Role, c.Old)
		default:
			return refuse(Rollback, tuf.RoleSnapshot, next.Version(), "5.5.5", "it lists %q at version %d, which was at %d before", c.Role, c.New, c.Old)
		}
	}
	return nil
}

// notBelowMinimum enforces the additional member "minimum_version" of a
// delegation: the delegator has seen this version, and says so under its own
// keys. It bounds what stolen timestamp and snapshot keys can bring back.
func notBelowMinimum(d tuf.Delegation, meta tuf.Meta) error {
	if meta.Version >= d.MinimumVersion() {
		return nil
	}
	return refuse(Rollback, d.Name(), meta.Version, "5.6.4", "its delegator saw version %d already (minimum_version)", d.MinimumVersion())
}

// memberRoleName is the additional member by which a targets role names itself.
const memberRoleName = "role_name"

// namedLikeRole enforces the additional member "role_name". Signatures do not cover
// the name under which a file is served, and roles often share a key: without
// the member, whoever serves the files could pass one role off as another of the
// same key and version, and so make what the right one lists disappear. Only the
// key's holder can leave the member out.
func namedLikeRole(t *tuf.Targets, role tuf.RoleName) error {
	raw, ok := t.Member(memberRoleName)
	if !ok {
		return nil
	}
	name, err := cjson.Canonical(raw, 0)
	if err == nil && bytes.Equal(name, cjson.AppendString(nil, role)) {
		return nil
	}
	return refuse(MixAndMatch, role, t.Version(), "5.6.4", "it was signed as role %s (role_name)", shown(string(raw[:min(len(raw), 300)])))
}
