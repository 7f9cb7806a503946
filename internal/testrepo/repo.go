// Package testrepo makes whole TUF repositories for tests, and attacks on them,
// in a line each.
//
// A Repo is a writer, a server and an attacker in one. Tests change its fields,
// call Publish, and hand it to a client as a client.Fetcher (or over HTTP, by
// Handler). It signs whatever it is told to sign: to make bad metadata is its
// purpose. It shares no code with the product's writer, parser or encoder.
// Keys come from names and the clock is a field, so each run makes the same bytes.
//
// Set up and attack from one goroutine; fetching is safe for concurrent use.
package testrepo

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Options are the shape of a repository. The zero value is Bailiwick's:
// consistent snapshots, versions only.
type Options struct {
	Plain     bool // no consistent snapshots
	Hashes    bool // list lengths and hashes in timestamp and snapshot
	SHA512    bool // list SHA-512 instead of SHA-256 for targets
	Threshold int  // of the four top-level roles, with as many keys; 0: 1
}

// Start is the time at which every repository begins.
func Start() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }

// Repo is a repository under test. Fields take effect at the next Publish or
// PublishRoot.
type Repo struct {
	Options Options
	Clock   time.Time // what Now returns

	// Top holds who signs root, timestamp, snapshot and targets.
	Top map[string]Holders
	// Versions holds the newest version of every role; Publish counts up.
	Versions map[string]int64
	// Life says how long roles live from Clock on, by name; a year if not listed.
	Life map[string]time.Duration
	// Roles holds targets and the delegated roles, by name.
	Roles map[string]*Role
	// Edit changes what is signed for a role, by name, each time it is signed.
	Edit map[string]func(signed map[string]any)
	// SignWith replaces the keys that sign a role, by name.
	SignWith map[string][]Key
	// Unlisted names roles that the snapshot leaves out.
	Unlisted map[string]bool
	// Snapshot and timestamp entries of roles are changed by ListEdit, by role.
	ListEdit map[string]func(meta map[string]any)

	tb      testing.TB
	dirty   map[string]bool
	oldRoot Holders // holders of the newest published root
	current map[string][]byte

	mu       sync.Mutex // guards what follows: used while fetching
	files    map[string][]byte
	targets  map[string][]byte
	faults   map[string]Fault
	requests []string
}

// Role is a targets role: top-level or delegated.
type Role struct {
	Name        string
	Holders     Holders
	Targets     map[string]map[string]any // path → TARGETS entry
	Delegations []Delegation
	Succinct    map[string]any // "succinct_roles", instead of Delegations
}

// Delegation is an entry of a role's delegations. Terminating and Minimum are
// left out where zero.
type Delegation struct {
	Name         string
	Paths        []string
	HashPrefixes []string
	Holders      Holders // zero: those of the role of that name
	Terminating  bool
	Minimum      int64 // minimum_version
}

// New makes a repository with one key for each top-level role, no target, and
// version 1 of everything published.
func New(tb testing.TB, o Options) *Repo {
	tb.Helper()
	n := max(o.Threshold, 1)
	r := &Repo{
		Options: o, Clock: Start(), tb: tb,
		Top: map[string]Holders{}, Versions: map[string]int64{}, Life: map[string]time.Duration{}, Roles: map[string]*Role{},
		Edit: map[string]func(map[string]any){}, SignWith: map[string][]Key{}, Unlisted: map[string]bool{},
		ListEdit: map[string]func(map[string]any){}, dirty: map[string]bool{}, current: map[string][]byte{},
		files: map[string][]byte{}, targets: map[string][]byte{}, faults: map[string]Fault{},
	}
	for _, name := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.Top[name] = Some(name, n, n)
	}
	r.role("targets")
	r.PublishRoot()
	r.Publish()
	return r
}

// Now returns the repository's time: hand it to a client as its clock.
func (r *Repo) Now() time.Time { return r.Clock }

// Advance moves the clock.
func (r *Repo) Advance(d time.Duration) { r.Clock = r.Clock.Add(d) }

// role returns a role, made if it is not there.
func (r *Repo) role(name string) *Role {
	if r.Roles[name] == nil {
		r.Roles[name] = &Role{Name: name, Holders: One(name), Targets: map[string]map[string]any{}}
		r.dirty[name] = true
	}
	return r.Roles[name]
}

// Delegate appends a delegation to a role; one to "unclaimed" stays the last. The delegated role is made if it is
// not there, with one key of its own or the holders of d.
func (r *Repo) Delegate(from string, d Delegation) *Role {
	parent := r.role(from)
	child := r.role(d.Name)
	if d.Holders.Threshold == 0 {
		d.Holders = child.Holders
	} else {
		child.Holders = d.Holders
	}
	at := len(parent.Delegations)
	if at > 0 && parent.Delegations[at-1].Name == "unclaimed" {
		at--
	}
	parent.Delegations = slices.Insert(parent.Delegations, at, d)
	r.dirty[from] = true
	return child
}

// Touch makes the next Publish raise a role's version though nothing changed.
func (r *Repo) Touch(names ...string) {
	for _, name := range names {
		r.dirty[name] = true
	}
}

// AddTarget lists a file in a role, and keeps its bytes to be served.
func (r *Repo) AddTarget(role, path string, content []byte) {
	r.AddTargetCustom(role, path, content, nil)
}

// AddTargetCustom is AddTarget with a "custom" object.
func (r *Repo) AddTargetCustom(role, path string, content []byte, custom map[string]any) {
	entry := map[string]any{"length": len(content), "hashes": hashes(content, r.Options.SHA512)}
	if custom != nil {
		entry["custom"] = custom
	}
	r.role(role).Targets[path] = entry
	r.dirty[role] = true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[r.TargetName(path, content)] = content
}

// RemoveTarget drops a file from a role's list.
func (r *Repo) RemoveTarget(role, path string) {
	delete(r.role(role).Targets, path)
	r.dirty[role] = true
}

// TargetName is the name under which a file is served.
func (r *Repo) TargetName(path string, content []byte) string {
	if r.Options.Plain {
		return path
	}
	dir, file := "", path
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			dir, file = path[:i+1], path[i+1:]
			break
		}
	}
	for _, sum := range hashes(content, r.Options.SHA512) {
		return dir + sum.(string) + "." + file
	}
	return path
}

func hashes(data []byte, long bool) map[string]any {
	if long {
		sum := sha512.Sum512(data)
		return map[string]any{"sha512": hex.EncodeToString(sum[:])}
	}
	sum := sha256.Sum256(data)
	return map[string]any{"sha256": hex.EncodeToString(sum[:])}
}

// PublishRoot publishes the next root, signed by the holders of the one before
// and its own, unless SignWith["root"] says otherwise.
func (r *Repo) PublishRoot() {
	roles := map[string]any{}
	for name, h := range r.Top {
		roles[name] = h.object()
	}
	signed := map[string]any{
		"_type": "root", "consistent_snapshot": !r.Options.Plain,
		"keys": keyObjects(slices.Collect(maps.Values(r.Top))...), "roles": roles,
	}
	signers := slices.Clone(r.Top["root"].Keys)
	for _, k := range r.oldRoot.Keys {
		if !slices.ContainsFunc(signers, func(o Key) bool { return o.ID() == k.ID() }) {
			signers = append(signers, k)
		}
	}
	r.sign("root", signed, signers)
	r.oldRoot = r.Top["root"]
}

// Publish signs every role that changed, then the snapshot, then the timestamp,
// each at the next version.
func (r *Repo) Publish() {
	for _, name := range slices.Sorted(maps.Keys(r.dirty)) {
		if role := r.Roles[name]; role != nil {
			r.publishRole(role)
		}
	}
	clear(r.dirty)
	r.PublishSnapshot()
	r.PublishTimestamp()
}

func (r *Repo) publishRole(role *Role) {
	targets := map[string]any{}
	for path, entry := range role.Targets {
		targets[path] = entry
	}
	signed := map[string]any{"_type": "targets", "targets": targets}
	switch {
	case role.Succinct != nil:
		signed["delegations"] = map[string]any{"keys": keyObjects(role.Holders), "succinct_roles": role.Succinct}
	case len(role.Delegations) > 0:
		signed["delegations"] = delegations(role.Delegations)
	}
	keys := role.Holders.Keys
	if role.Name == "targets" {
		keys = r.Top["targets"].Keys
	}
	r.sign(role.Name, signed, keys)
}

func delegations(ds []Delegation) map[string]any {
	var all []Holders
	entries := []any{}
	for _, d := range ds {
		all = append(all, d.Holders)
		e := d.Holders.object()
		e["name"], e["terminating"] = d.Name, d.Terminating
		if d.HashPrefixes != nil {
			e["path_hash_prefixes"] = texts(d.HashPrefixes)
		} else {
			e["paths"] = texts(d.Paths)
		}
		if d.Minimum > 0 {
			e["minimum_version"] = d.Minimum
		}
		entries = append(entries, e)
	}
	return map[string]any{"keys": keyObjects(all...), "roles": entries}
}

func texts(s []string) []any {
	out := make([]any, len(s))
	for i, v := range s {
		out[i] = v
	}
	return out
}

// PublishSnapshot publishes the next snapshot alone.
func (r *Repo) PublishSnapshot() {
	meta := map[string]any{}
	for name := range r.Roles {
		if !r.Unlisted[name] {
			meta[name+".json"] = r.listed(name)
		}
	}
	r.sign("snapshot", map[string]any{"_type": "snapshot", "meta": meta}, r.Top["snapshot"].Keys)
}

// PublishTimestamp publishes the next timestamp alone.
func (r *Repo) PublishTimestamp() {
	meta := map[string]any{"snapshot.json": r.listed("snapshot")}
	r.sign("timestamp", map[string]any{"_type": "timestamp", "meta": meta}, r.Top["timestamp"].Keys)
}

func (r *Repo) listed(name string) map[string]any {
	m := map[string]any{"version": r.Versions[name]}
	if r.Options.Hashes {
		m["length"], m["hashes"] = len(r.current[name]), hashes(r.current[name], false)
	}
	if edit := r.ListEdit[name]; edit != nil {
		edit(m)
	}
	return m
}

// sign completes a role, signs it and serves it.
func (r *Repo) sign(name string, signed map[string]any, keys []Key) {
	r.Versions[name]++
	signed["spec_version"] = "1.0.34"
	signed["version"] = r.Versions[name]
	signed["expires"] = r.Clock.Add(r.life(name)).Format("2006-01-02T15:04:05Z")
	if edit := r.Edit[name]; edit != nil {
		edit(signed)
	}
	if with, ok := r.SignWith[name]; ok {
		keys = with
	}
	data := Envelope(signed, keys...)
	r.current[name] = data
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[r.fileName(name, r.Versions[name])] = data
}

func (r *Repo) life(name string) time.Duration {
	if d, ok := r.Life[name]; ok {
		return d
	}
	return 365 * 24 * time.Hour
}

func (r *Repo) fileName(role string, version int64) string {
	if role == "root" || (!r.Options.Plain && role != "timestamp") {
		return strconv.FormatInt(version, 10) + "." + role + ".json"
	}
	return role + ".json"
}

// FileName returns the name of a role's newest metadata file.
func (r *Repo) FileName(role string) string { return r.fileName(role, r.Versions[role]) }

// Bytes returns a role's newest metadata as it was signed.
func (r *Repo) Bytes(role string) []byte { return r.current[role] }

// Root returns a root of the chain.
func (r *Repo) Root(version int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.files[fmt.Sprintf("%d.root.json", version)]
	if !ok {
		r.tb.Fatalf("testrepo: there is no root version %d", version)
	}
	return data
}
