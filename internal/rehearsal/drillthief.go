package rehearsal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/internal/pypi/distmake"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// forger is a thief with keys. It changes metadata as plain JSON, keeps no rule, and signs with what was stolen, or
// with a key of its own where nothing was.
type forger struct {
	*thief
	layout policy.Layout
	stolen map[string][]key.Signer // by role of the index, "root", or name of a project
	own    key.Signer
	at     time.Time // as the thief wants it to be

	versions map[tuf.RoleName]int64 // of what was forged
}

// object is a JSON object.
type object = map[string]any

// forgedVersion is the version of the releases that the thief makes.
const forgedVersion = "9.9"

func (f *forger) has(roles ...string) bool {
	for _, role := range roles {
		if len(f.stolen[role]) == 0 {
			return false
		}
	}
	return true
}

// signers of a role: who holds its keys, if they were stolen.
func (f *forger) signers(holder string) []key.Signer {
	if s := f.stolen[holder]; len(s) > 0 {
		return s
	}
	return []key.Signer{f.own}
}

// signed reads what a role says: the forged version, or the newest that was published, or the one that is asked for.
func (f *forger) signed(ctx context.Context, role tuf.RoleName, version int64) (object, error) {
	data := f.replaced[f.fileName(role, f.versions[role])]
	if version != 0 || f.versions[role] == 0 {
		m, err := f.ledger.Metadata(ctx, role, version)
		if err != nil {
			return nil, fmt.Errorf("reading %s from the stolen ledger: %w", role, err)
		}
		data = m.Bytes
	}
	var envelope struct {
		Signed object `json:"signed"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&envelope); err != nil {
		return nil, fmt.Errorf("reading %s: %w", role, err)
	}
	return envelope.Signed, nil
}

func (f *forger) fileName(role tuf.RoleName, version int64) string {
	return trust.FileName(role, version, true)
}

// edit makes the next version of a role, changed and signed anew.
func (f *forger) edit(ctx context.Context, role tuf.RoleName, holder string, change func(signed object)) error {
	signed, err := f.signed(ctx, role, 0)
	if err != nil {
		return err
	}
	if f.versions[role] == 0 {
		signed["version"] = number(signed["version"]) + 1
	}
	change(signed)
	return f.put(ctx, role, f.signers(holder), signed)
}

// put signs and serves.
func (f *forger) put(ctx context.Context, role tuf.RoleName, by []key.Signer, signed object) error {
	data, err := envelope(ctx, signed, by)
	if err != nil {
		return fmt.Errorf("forging %s: %w", role, err)
	}
	f.versions[role] = number(signed["version"])
	f.replaced[f.fileName(role, f.versions[role])] = data
	return nil
}

// envelope signs an object with all of the keys.
func envelope(ctx context.Context, signed object, by []key.Signer) ([]byte, error) {
	message, err := canonical(signed)
	if err != nil {
		return nil, err
	}
	signatures := []any{}
	for _, s := range by {
		sig, err := s.Sign(ctx, message)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, object{"keyid": string(s.Public().ID()), "sig": hex.EncodeToString(sig)})
	}
	return canonical(object{"signatures": signatures, "signed": signed})
}

func canonical(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	data, err = cjson.Canonical(data, cjson.MaxDepth)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return data, nil
}

// number reads a whole number of decoded JSON.
func number(v any) int64 {
	switch n := v.(type) {
	case json.Number:
		i, _ := n.Int64() // what the index published
		return i
	case int64:
		return n
	}
	return 0
}

// member is an object inside of another.
func member(of object, names ...string) object {
	for _, name := range names {
		inner, ok := of[name].(object)
		if !ok {
			inner = object{}
			of[name] = inner
		}
		of = inner
	}
	return of
}

// pin lists what was forged in a snapshot and that in a timestamp, after change has seen the list.
func (f *forger) pin(ctx context.Context, change func(list object)) error {
	err := f.edit(ctx, tuf.RoleSnapshot, "snapshot", func(signed object) {
		list := member(signed, "meta")
		for role, version := range f.versions {
			if role != tuf.RoleRoot && role != tuf.RoleSnapshot && role != tuf.RoleTimestamp {
				list[string(role)+".json"] = object{"version": version}
			}
		}
		if change != nil {
			change(list)
		}
		f.prolong(signed, "snapshot")
	})
	if err != nil {
		return err
	}
	return f.stamp(ctx, f.replaced[f.fileName(tuf.RoleSnapshot, f.versions[tuf.RoleSnapshot])], f.versions[tuf.RoleSnapshot])
}

// stamp makes a timestamp for a snapshot.
func (f *forger) stamp(ctx context.Context, snapshot []byte, version int64) error {
	return f.edit(ctx, tuf.RoleTimestamp, "timestamp", func(signed object) {
		sum := sha256.Sum256(snapshot)
		member(signed, "meta")["snapshot.json"] = object{
			"version": version, "length": len(snapshot), "hashes": object{"sha256": hex.EncodeToString(sum[:])},
		}
		f.prolong(signed, "timestamp")
	})
}

// prolong lets a role live on, if the thief can sign it.
func (f *forger) prolong(signed object, holder string) {
	if f.has(holder) {
		signed["expires"] = tuf.FormatTime(f.at.Add(20 * time.Hour))
	}
}

// release lists a file in the role of a project that nobody but the thief made, and leads clients to it as far as the
// stolen keys reach.
func (f *forger) release(ctx context.Context, name string) error {
	project, err := pypi.ParseProject(name)
	if err != nil {
		return fmt.Errorf("forging: %w", err)
	}
	if err := f.delegate(ctx, project); err != nil {
		return err
	}
	made := distmake.Wheel(name, forgedVersion, distmake.Options{Summary: "made by a thief"})
	sum := sha256.Sum256(made.Data)
	f.forged[sum] = made.Data
	filename, err := pypi.ParseFilename(made.Name)
	if err != nil {
		return fmt.Errorf("forging %s: %w", made.Name, err)
	}
	return f.edit(ctx, policy.ProjectRole(project), f.projectHolder(name), func(signed object) {
		list := member(signed, "targets")
		custom := object{}
		if honest := slices.Sorted(maps.Keys(list)); len(honest) > 0 { // an entry to go by
			maps.Copy(custom, member(list, honest[0], "custom"))
		}
		delete(custom, "core-metadata")
		custom["version"] = forgedVersion
		list[string(f.layout.Path(project, filename))] = object{
			"length": len(made.Data), "hashes": object{"sha256": hex.EncodeToString(sum[:])}, "custom": custom,
		}
	})
}

// projectHolder is with whose keys the thief signs the list of a project.
func (f *forger) projectHolder(name string) string {
	switch {
	case f.has(name):
		return name
	case f.has("registry") && name == drillUnclaimed && !f.takesTree():
		return "registry"
	}
	return "nobody"
}

// takesTree reports whether the thief holds keys above the claimed bins.
func (f *forger) takesTree() bool { return f.has("claimed") || f.has("targets") || f.has("root") }

// delegate gives a project to the thief's own key where the stolen keys can.
func (f *forger) delegate(ctx context.Context, p pypi.Project) error {
	role, bin := policy.ProjectRole(p), f.layout.ClaimedBin(p)
	switch {
	case f.has(p.String()):
		return nil
	case f.has("root"):
		return f.takeRoot(ctx, p)
	case f.has("targets"):
		if err := f.edit(ctx, tuf.RoleTargets, "targets", func(s object) { f.give(s, policy.RoleClaimed, "*/*/*") }); err != nil {
			return err
		}
		if err := f.edit(ctx, policy.RoleClaimed, "nobody", func(s object) { f.give(s, bin, f.layout.BinPattern(f.layout.Bin(p))) }); err != nil {
			return err
		}
		return f.edit(ctx, bin, "nobody", func(s object) { f.give(s, role, f.layout.ProjectPattern(p)) })
	case f.has("claimed"):
		return f.edit(ctx, bin, "claimed", func(s object) { f.give(s, role, f.layout.ProjectPattern(p)) })
	case f.has("registry") && p.String() != drillUnclaimed:
		return f.edit(ctx, f.layout.UnclaimedBin(p), "registry", func(s object) { f.give(s, role, f.layout.ProjectPattern(p)) })
	}
	return nil
}

// give changes or adds a delegation, so that the thief's own key has it.
func (f *forger) give(signed object, role tuf.RoleName, pattern string) {
	id := string(f.own.Public().ID())
	var form object
	_ = json.Unmarshal(f.own.Public().AppendCanonical(nil), &form) // our own encoding
	member(signed, "delegations", "keys")[id] = form
	roles, _ := member(signed, "delegations")["roles"].([]any)
	for _, r := range roles {
		if d, ok := r.(object); ok && d["name"] == string(role) {
			d["keyids"], d["threshold"] = []any{id}, 1
			return
		}
	}
	d := object{"name": string(role), "keyids": []any{id}, "threshold": 1, "terminating": true, "paths": []any{pattern}}
	member(signed, "delegations")["roles"] = append([]any{d}, roles...)
}

// takeRoot makes a root in which every key is the thief's.
func (f *forger) takeRoot(ctx context.Context, p pypi.Project) error {
	if f.versions[tuf.RoleRoot] == 0 {
		if err := f.edit(ctx, tuf.RoleRoot, "root", f.ownRoot); err != nil {
			return err
		}
		f.stolen["targets"], f.stolen["snapshot"], f.stolen["timestamp"] = []key.Signer{f.own}, []key.Signer{f.own}, []key.Signer{f.own}
	}
	root := f.stolen["root"]
	delete(f.stolen, "root")
	defer func() { f.stolen["root"] = root }()
	return f.delegate(ctx, p)
}

func (f *forger) ownRoot(signed object) {
	id := string(f.own.Public().ID())
	var form object
	_ = json.Unmarshal(f.own.Public().AppendCanonical(nil), &form) // our own encoding
	member(signed, "keys")[id] = form
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		signed["roles"].(object)[role] = object{"keyids": []any{id}, "threshold": 1} //nolint:forcetypeassert // a published root has it
	}
	f.stolen["root"] = append(slices.Clone(f.stolen["root"]), f.own) // the new root is signed by the old keys and the new
}

// commit leaves what was forged in the ledger of the index, as a publication like any other.
func (f *forger) commit(ctx context.Context) error {
	head, err := f.ledger.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the stolen ledger: %w", err)
	}
	p := &publish.Publication{Number: head.Number + 1, Time: f.at.UTC().Truncate(time.Second)}
	for role, version := range f.versions {
		signed, err := f.signed(ctx, role, 0)
		if err != nil {
			return err
		}
		expires, err := time.Parse(time.RFC3339, fmt.Sprint(signed["expires"]))
		if err != nil {
			return fmt.Errorf("reading when %s expires: %w", role, err)
		}
		p.Metadata = append(p.Metadata, publish.Metadata{
			Role: role, Version: version, Expires: expires, Bytes: f.replaced[f.fileName(role, version)],
			Maintained: strings.HasPrefix(string(role), "project.") && string(role) != "project."+drillUnclaimed,
		})
	}
	slices.SortFunc(p.Metadata, func(a, b publish.Metadata) int { return strings.Compare(string(a.Role), string(b.Role)) })
	if err := f.ledger.Commit(ctx, p); err != nil {
		return fmt.Errorf("changing the stolen ledger: %w", err)
	}
	for _, data := range f.forged {
		if err := f.keep(ctx, data); err != nil {
			return err
		}
	}
	return nil
}

// keep puts a file into the store of the index.
func (f *forger) keep(ctx context.Context, data []byte) error {
	s, err := f.files.Stage(ctx)
	if err != nil {
		return fmt.Errorf("storing a forged file: %w", err)
	}
	if _, err = s.Write(data); err == nil {
		err = s.Keep(ctx, sha256.Sum256(data))
	}
	if err = errors.Join(err, s.Discard()); err != nil {
		return fmt.Errorf("storing a forged file: %w", err)
	}
	return nil
}
