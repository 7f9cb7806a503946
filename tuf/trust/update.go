package trust

import (
	"bytes"
	"strconv"
	"time"

	"example.com/bailiwick/tuf"
)

// Options are what an update may be given beside bytes and a time. The zero
// value works.
type Options struct {
	Limits *Limits // nil: DefaultLimits
	Cache  *Cache  // verified delegated roles of earlier updates; nil: a new one
}

// Want says which file to obtain next.
type Want struct {
	Role    tuf.RoleName
	Version int64    // 0 for the timestamp, whose version nobody knows yet
	Name    string   // file name below the metadata URL, not percent-encoded: "7.snapshot.json"
	Limit   int64    // read no more bytes than this
	Meta    tuf.Meta // what the parent lists about it; Length -1 if nothing
}

// FileName returns the name under which a repository publishes metadata
// (section 6.2): the version is part of it for every root, and for all but the
// timestamp where consistent snapshots are on. The name is not percent-encoded.
func FileName(role tuf.RoleName, version int64, consistent bool) string {
	if role == tuf.RoleRoot || (consistent && role != tuf.RoleTimestamp) {
		return strconv.FormatInt(version, 10) + "." + string(role) + ".json"
	}
	return string(role) + ".json"
}

// state is what every stage carries on to the next, by value: a stage that was
// left behind can no longer change anything.
type state struct {
	start     time.Time
	limits    Limits
	cache     *Cache
	root      *tuf.Root
	timestamp *tuf.Timestamp // trusted before this update, expired or not; nil if none
	snapshot  *tuf.Snapshot  // likewise
	targets   *node          // likewise
}

// want makes a Want. A listed length lowers the limit and never raises it: who lists may
// have lost a key.
func (s *state) want(role tuf.RoleName, meta tuf.Meta, limit int64) Want {
	if meta.Length >= 0 {
		limit = min(limit, meta.Length)
	}
	return Want{
		Role: role, Version: meta.Version, Limit: limit, Meta: meta,
		Name: FileName(role, meta.Version, s.root.ConsistentSnapshot()),
	}
}

func (s *state) expectRoot(step string) expected {
	return expected{role: tuf.RoleRoot, meta: noMeta, limit: s.limits.Metadata.RootBytes, lengthStep: step}
}

// RootStage follows the chain of roots (5.3).
type RootStage struct {
	state
	accepted int64
}

// Begin starts an update (5.1, 5.2). The root comes from out of band and is the
// anchor of everything; it must be signed by its own keys, and may be expired,
// since only the newest root has to be current. start is the one time against
// which every expiry of this update is held.
func Begin(root []byte, start time.Time, o Options) (*RootStage, error) {
	s := state{start: start, limits: o.Limits.orDefault(), cache: o.Cache}
	if s.cache == nil {
		s.cache = NewCache(0)
	}
	u, err := opened(root, s.expectRoot("5.2"), &s.limits.Metadata, tuf.ParseRoot)
	if err != nil {
		return nil, err
	}
	if s.root, err = rootSignedBySelf(u, "5.2"); err != nil {
		return nil, err
	}
	return &RootStage{state: s}, nil
}

// At begins another update where this stage is, with its own start. This stage does not
// change.
func (s *RootStage) At(start time.Time) *RootStage {
	next := s.state
	next.start = start
	return &RootStage{state: next}
}

// Root returns the newest root accepted so far.
func (s *RootStage) Root() *tuf.Root { return s.root }

// Want names the next root to ask for (5.3.2, 5.3.3). It reports false when so
// many roots were followed in this update that no further one may be: then go
// on with Done, and the next update follows the rest.
func (s *RootStage) Want() (Want, bool) {
	if s.accepted >= s.limits.Roots {
		return Want{}, false
	}
	next := noMeta
	next.Version = s.root.Version() + 1
	return s.want(tuf.RoleRoot, next, s.limits.Metadata.RootBytes), true
}

// Accept takes root N+1 (5.3.4 to 5.3.7), or refuses it and keeps root N.
// If it reports rotated (5.3.11), the caller removes its stored timestamp and
// snapshot, and only then persists the new root (5.3.8): a crash in between
// must leave less trust, not more.
func (s *RootStage) Accept(data []byte) (rotated bool, err error) {
	if _, ok := s.Want(); !ok {
		return false, refuse(Limit, tuf.RoleRoot, 0, "5.3.3", "%d roots were followed in this update", s.accepted)
	}
	if rotated, err = s.follow(data); err == nil {
		s.accepted++
	}
	return rotated, err
}

// Stored offers root N+1 as the caller persisted it in an earlier update. It is
// verified like any, and does not count as followed in this one. What it
// rotated was removed then. On an error, go on as if there were no such file.
func (s *RootStage) Stored(data []byte) error {
	_, err := s.follow(data)
	return err
}

func (s *RootStage) follow(data []byte) (rotated bool, err error) {
	u, err := opened(data, s.expectRoot("5.3.3"), &s.limits.Metadata, tuf.ParseRoot)
	if err != nil {
		return false, err
	}
	next, err := rootSignedByBoth(u, s.root)
	if err != nil {
		return false, err
	}
	if err := rootIsNext(next, s.root); err != nil {
		return false, err
	}
	// 5.3.6: whether it is expired does not matter yet; 5.3.10 looks at the last.
	if rotated = Rotated(s.root, next); rotated {
		s.timestamp, s.snapshot = nil, nil
	}
	s.root = next
	return rotated, nil
}

// Done ends the chain of roots when the repository has no further one: the
// last must not be expired (5.3.10). From here on it also says whether names
// carry versions (5.3.12).
func (s *RootStage) Done() (*TimestampStage, error) {
	if err := unexpired(s.root.Expires(), tuf.RoleRoot, s.root.Version(), s.start, "5.3.10"); err != nil {
		return nil, err
	}
	return &TimestampStage{state: s.state}, nil
}

// TimestampStage learns what is current (5.4).
type TimestampStage struct{ state }

// Want names the timestamp (5.4.1).
func (s *TimestampStage) Want() Want {
	return s.want(tuf.RoleTimestamp, noMeta, s.limits.Metadata.TimestampBytes)
}

// Stored offers the timestamp that the caller persisted before; nil bytes are
// no file. It is held against the present root, and not against its expiry: an
// expired timestamp still protects its successor from rollback. On an error,
// go on as if there were no such file.
//
// Where a Set was carried along (Set.Next), its timestamp stays in force unless
// the stored one is as new, and the very bytes of it are not verified again.
// The same goes for the other stages.
func (s *TimestampStage) Stored(data []byte) error {
	if data == nil || s.timestamp != nil && bytes.Equal(data, s.timestamp.Bytes()) {
		return nil
	}
	t, err := s.verify(data)
	if err != nil {
		return err
	}
	if s.timestamp == nil || t.Version() >= s.timestamp.Version() {
		s.timestamp = t
	}
	return nil
}

func (s *TimestampStage) verify(data []byte) (*tuf.Timestamp, error) {
	x := expected{role: tuf.RoleTimestamp, meta: noMeta, limit: s.limits.Metadata.TimestampBytes, lengthStep: "5.4.1"}
	_, t, err := verified(data, x, &s.limits.Metadata, tuf.ParseTimestamp, authority(s.root, tuf.RoleTimestamp), "5.4.2")
	return t, err
}

// Accept takes the timestamp that the repository shows now. When its version
// is the trusted one, the trusted bytes stay in force, whatever it holds; so
// persist what SnapshotStage.Timestamp returns (5.4.5).
func (s *TimestampStage) Accept(data []byte) (*SnapshotStage, error) {
	next, err := s.verify(data)
	if err != nil {
		return nil, err
	}
	keep, err := timestampNotOlder(next, s.timestamp)
	if err != nil {
		return nil, err
	}
	if keep {
		return s.Keep()
	}
	if err := timestampPinsNoOlderSnapshot(next, s.timestamp); err != nil {
		return nil, err
	}
	return s.follow(next)
}

// Keep goes on with the stored timestamp, for those who cannot or may not ask
// the repository. It must not be expired.
func (s *TimestampStage) Keep() (*SnapshotStage, error) {
	if s.timestamp == nil {
		return nil, refuse(Missing, tuf.RoleTimestamp, 0, "5.4", "no valid timestamp is stored")
	}
	return s.follow(s.timestamp)
}

func (s *TimestampStage) follow(t *tuf.Timestamp) (*SnapshotStage, error) {
	if err := unexpired(t.Expires(), tuf.RoleTimestamp, t.Version(), s.start, "5.4.4"); err != nil {
		return nil, err
	}
	next := &SnapshotStage{state: s.state}
	next.state.timestamp = t
	return next, nil
}

// SnapshotStage learns the versions of all roles (5.5).
type SnapshotStage struct{ state }

// Timestamp returns the timestamp in force: persist its bytes.
func (s *SnapshotStage) Timestamp() *tuf.Timestamp { return s.timestamp }

// Want names the snapshot that the timestamp lists (5.5.1).
func (s *SnapshotStage) Want() Want {
	return s.want(tuf.RoleSnapshot, s.timestamp.Snapshot(), s.limits.Metadata.SnapshotBytes)
}

// Stored offers the snapshot that the caller persisted before; nil bytes are no
// file. It must verify against the present root. Whether it is the listed one
// is Keep's question; in any case it protects its successor from rollback. On
// an error, go on as if there were no such file.
func (s *SnapshotStage) Stored(data []byte) error {
	if data == nil || s.snapshot != nil && bytes.Equal(data, s.snapshot.Bytes()) {
		return nil
	}
	old, err := s.verify(data, noMeta)
	if err != nil {
		return err
	}
	if s.snapshot == nil || old.Version() >= s.snapshot.Version() {
		s.snapshot = old
	}
	return nil
}

func (s *SnapshotStage) verify(data []byte, meta tuf.Meta) (*tuf.Snapshot, error) {
	x := expected{role: tuf.RoleSnapshot, meta: meta, limit: s.limits.Metadata.SnapshotBytes, lengthStep: "5.5.1", hashStep: "5.5.2"}
	_, v, err := verified(data, x, &s.limits.Metadata, tuf.ParseSnapshot, authority(s.root, tuf.RoleSnapshot), "5.5.3")
	return v, err
}

// Accept takes the snapshot that the timestamp lists.
func (s *SnapshotStage) Accept(data []byte) (*TargetsStage, error) {
	next, err := s.verify(data, s.timestamp.Snapshot())
	if err != nil {
		return nil, err
	}
	return s.follow(next)
}

// Keep goes on with the stored snapshot, without a request, if it is the one
// that the timestamp lists, hash included, and not expired.
func (s *SnapshotStage) Keep() (*TargetsStage, bool) {
	if s.snapshot == nil || !isListed(s.snapshot.Bytes(), tuf.RoleSnapshot, s.timestamp.Snapshot()) {
		return nil, false
	}
	next, err := s.follow(s.snapshot)
	return next, err == nil
}

func (s *SnapshotStage) follow(next *tuf.Snapshot) (*TargetsStage, error) {
	if err := versionIsPinned(next.Version(), tuf.RoleSnapshot, s.timestamp.Snapshot(), "5.5.4"); err != nil {
		return nil, err
	}
	if err := snapshotNotOlder(next, s.snapshot); err != nil {
		return nil, err
	}
	if err := unexpired(next.Expires(), tuf.RoleSnapshot, next.Version(), s.start, "5.5.6"); err != nil {
		return nil, err
	}
	pinned, ok := next.Lookup(tuf.RoleTargets)
	if !ok {
		return nil, refuse(Missing, tuf.RoleTargets, 0, "4.4", "snapshot version %d does not list it", next.Version())
	}
	stage := &TargetsStage{state: s.state, pinned: pinned}
	stage.state.snapshot = next
	return stage, nil
}

// TargetsStage takes the top-level targets role (5.6).
type TargetsStage struct {
	state
	pinned tuf.Meta
}

// Snapshot returns the snapshot in force: persist its bytes (5.5.7).
func (s *TargetsStage) Snapshot() *tuf.Snapshot { return s.snapshot }

// Want names the targets file that the snapshot lists (5.6.1).
func (s *TargetsStage) Want() Want {
	return s.want(tuf.RoleTargets, s.pinned, s.limits.Metadata.TargetsBytes)
}

// Stored offers the targets file that the caller persisted before; nil bytes
// are no file. On an error, go on as if there were no such file.
func (s *TargetsStage) Stored(data []byte) error {
	if data == nil || s.targets != nil && bytes.Equal(data, s.targets.targets.Bytes()) {
		return nil // what depends on the snapshot and the time, Keep asks in any case
	}
	n, err := s.verify(data)
	if err != nil {
		return err
	}
	s.targets = n
	return nil
}

func (s *TargetsStage) verify(data []byte) (*node, error) {
	return s.verifyTargets(data, tuf.RoleTargets, s.pinned, authority(s.root, tuf.RoleTargets))
}

// Accept takes the targets file that the snapshot lists, and with it the
// update is complete: persist Set.Targets (5.6.6).
func (s *TargetsStage) Accept(data []byte) (*Set, error) {
	n, err := s.verify(data)
	if err != nil {
		return nil, err
	}
	return s.complete(n), nil
}

// Keep completes the update with the stored targets file, without a request,
// if it is the listed one, signed by the present keys, and not expired.
func (s *TargetsStage) Keep() (*Set, bool) {
	n := s.targets
	if n == nil || !isListed(n.targets.Bytes(), tuf.RoleTargets, s.pinned) {
		return nil, false
	}
	if n.authority.Equal(authority(s.root, tuf.RoleTargets)) {
		if s.checkTargets(n, tuf.RoleTargets, s.pinned) != nil {
			return nil, false
		}
		return s.complete(n), true
	}
	set, err := s.Accept(n.targets.Bytes()) // the root changed who signs it
	return set, err == nil
}

func (s *TargetsStage) complete(n *node) *Set {
	set := &Set{state: s.state}
	set.state.targets = n
	return set
}

// isListed reports whether stored bytes have the listed length and hashes.
// A snapshot that only has the listed version is not good enough (the listed
// hash is there to be used).
func isListed(data []byte, role tuf.RoleName, meta tuf.Meta) bool {
	return checkLength(data, role, meta, int64(len(data)), "") == nil && checkHashes(data, role, meta, "") == nil
}
