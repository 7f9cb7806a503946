package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/bailiwick/internal/testrepo"
	"example.com/bailiwick/tuf/client"
	"example.com/bailiwick/tuf/trust"
)

// evil lists the file in a role of the attacker's, with other content.
func evil(r *testrepo.Repo, from string, d testrepo.Delegation) {
	if d.Paths == nil && d.HashPrefixes == nil {
		d.Paths = []string{"*"}
	}
	r.Delegate(from, d)
	r.AddTarget(d.Name, "file", []byte("evil content"))
}

// delegationAttacks are shapes of the graph in which somebody would get a say who has
// none. What they list is found by nobody: the client either finds the honest file or
// says why not.
func delegationAttacks() []attack {
	var out []attack
	add := func(name string, want verdict, stored string, prepare, do func(*testrepo.Repo)) {
		out = append(out, attack{name: name, prepare: prepare, do: do, want: want, stored: stored})
	}
	listed := "1 3 3 3"
	silence := func(r *testrepo.Repo) { r.Remove(r.FileName("role")); r.Publish() }
	lesser := func(r *testrepo.Repo) { evil(r, "targets", testrepo.Delegation{Name: "lesser"}) }
	// The first of two roles becomes unreadable: the second must not speak in its place.
	add("the role of first priority is missing", verdict{trust.Missing, "role", "5.6.1"}, listed, nil, func(r *testrepo.Repo) {
		lesser(r)
		r.Touch("role")
		r.Publish()
		r.Remove(r.FileName("role"))
	})
	add("the role of first priority is badly signed", tooFew("role"), listed, nil, func(r *testrepo.Repo) {
		lesser(r)
		sigs("role")(r)
	})
	add("the role of first priority is expired", verdict{trust.Expired, "role", "5.6.5"}, listed, nil, func(r *testrepo.Repo) {
		lesser(r)
		r.Life["role"] = -1
		publishRole(r, "role")
	})
	add("the role of first priority is not listed", verdict{trust.Missing, "first", "5.6.7"}, listed, nil, func(r *testrepo.Repo) {
		lesser(r)
		r.Delegate("targets", testrepo.Delegation{Name: "first", Paths: []string{"*"}})
		ds := r.Roles["targets"].Delegations
		ds[0], ds[len(ds)-1] = ds[len(ds)-1], ds[0]
		r.Unlisted["first"] = true
		r.Publish()
	})
	add("the role of first priority can not be reached", verdict{code: network}, listed, nil, func(r *testrepo.Repo) {
		lesser(r)
		publishRole(r, "role")
		r.Break(r.FileName("role"), testrepo.Fault{Err: &client.NetworkError{URL: "http://example.com", Err: errors.New("no route")}})
	})
	add("harmless: a lesser role lists the file, too", verdict{}, listed, nil, func(r *testrepo.Repo) { lesser(r); r.Publish() })
	add("harmless: the role itself delegates to one that lists it", verdict{}, "1 3 3 2", nil, func(r *testrepo.Repo) {
		evil(r, "role", testrepo.Delegation{Name: "child"})
		r.Publish()
	})
	add("harmless: the stored role is what is asked for", verdict{}, "1 3 3 2", nil, silence)
	out[len(out)-1].fresh = &verdict{trust.Missing, "role", "5.6.1"}
	// Roles that never end.
	add("a chain longer than is followed", verdict{trust.Limit, "chain-32", "5.6.7.1"}, listed, nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		from := "targets"
		for i := range 40 {
			name := fmt.Sprintf("chain-%d", i)
			r.Delegate(from, testrepo.Delegation{Name: name, Paths: []string{"*"}})
			from = name
		}
		ds := r.Roles["targets"].Delegations
		ds[0], ds[1] = ds[1], ds[0]
		r.AddTarget(from, "file", []byte("evil content"))
		r.Publish()
	})
	add("more siblings than are followed", verdict{trust.Limit, "sibling-31", "5.6.7.1"}, listed, nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		for i := range 40 {
			r.Delegate("targets", testrepo.Delegation{Name: fmt.Sprintf("sibling-%d", i), Paths: []string{"*"}})
		}
		r.Publish()
	})
	add("a role that delegates to itself", verdict{code: notFound}, "1 3 3 2", nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		r.Delegate("role", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
		r.Publish()
	})
	add("roles that delegate in a circle", verdict{code: notFound}, "1 3 3 2", nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		r.Delegate("role", testrepo.Delegation{Name: "a", Paths: []string{"*"}})
		r.Delegate("a", testrepo.Delegation{Name: "b", Paths: []string{"*"}})
		r.Delegate("b", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
		r.Publish()
	})
	// Trust of one edge is not trust of another.
	add("a role verified through another parent", tooFew("role"), listed, nil, func(r *testrepo.Repo) {
		r.Delegate("targets", testrepo.Delegation{Name: "mother", Paths: []string{"*"}})
		r.Delegate("mother", testrepo.Delegation{Name: "role", Paths: []string{"*"}, Holders: testrepo.One("another key")})
		ds := r.Roles["targets"].Delegations
		ds[0], ds[1] = ds[1], ds[0]
		r.SignWith["role"] = testrepo.Keys("role", 1)
		r.Publish()
	})
	// A terminating delegation keeps others from being asked.
	add("a file behind a terminating delegation", verdict{code: notFound}, listed, nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		r.Roles["targets"].Delegations[0].Terminating = true
		lesser(r)
		r.Publish()
	})
	add("a file behind a terminating delegation of a child", verdict{code: notFound}, listed, nil, func(r *testrepo.Repo) {
		r.RemoveTarget("role", "file")
		r.Delegate("role", testrepo.Delegation{Name: "child", Paths: []string{"fil?"}, Terminating: true})
		lesser(r)
		r.Publish()
	})
	// Roles passed off as others of the same key.
	add("a role passed off as another of its key", verdict{trust.MixAndMatch, "role", "5.6.4"}, "1 3 3 3", nil, func(r *testrepo.Repo) {
		r.Edit["role"] = set("role_name", "role")
		r.Edit["twin"] = set("role_name", "twin")
		r.Delegate("targets", testrepo.Delegation{Name: "twin", Paths: []string{"other"}, Holders: testrepo.One("role")})
		r.Versions["twin"] = 1
		r.Touch("role", "twin")
		r.Publish()
		r.Serve(r.FileName("role"), r.Bytes("twin"))
	})
	for _, name := range []any{nil, 1, "Role", "role ", map[string]any{}} {
		add(fmt.Sprintf("a role that calls itself %v", name), verdict{trust.MixAndMatch, "role", "5.6.4"}, "1 3 3 2", nil, edit("role", set("role_name", name)))
	}
	add("a role older than its delegator has seen", verdict{trust.Rollback, "role", "5.6.4"}, "1 3 3 3", nil, func(r *testrepo.Repo) {
		r.Roles["targets"].Delegations[0].Minimum = 5
		publishRole(r, "targets")
	})
	return out
}

// nameAttacks are patterns that must not reach the file, and names of roles that must
// not leave the folder. Before the honest delegation stands one of the attacker's.
func nameAttacks() []attack {
	var out []attack
	first := func(r *testrepo.Repo, d testrepo.Delegation) {
		evil(r, "targets", d)
		ds := r.Roles["targets"].Delegations
		ds[0], ds[len(ds)-1] = ds[len(ds)-1], ds[0]
		r.Publish()
	}
	for _, pattern := range []string{
		"FILE", "File", "fil", "file/", "/file", "*/file", "*/*", "./file", "fi?", "fil??", "[!f]ile", "[f-]le", "[g-z]ile", "[f", "f[]ile", `\file`, `f\ile`, "file\\", "**/file", "f*/le",
		"{file,x}", "(file)", "^file$", "file ", "f.le", ".*", "[z-a]ile", "fi/../file", "\ufb01le",
	} {
		out = append(out, attack{name: fmt.Sprintf("the pattern %q", pattern), stored: "1 3 3 3", do: func(r *testrepo.Repo) {
			first(r, testrepo.Delegation{Name: "attacker", Paths: []string{pattern}})
		}})
	}
	sum := sha256.Sum256([]byte("file"))
	digest := hex.EncodeToString(sum[:])
	for name, prefix := range map[string]string{
		"of another path": flip(digest), "in capitals": strings.ToUpper(digest), "in base64": "O1v7",
	} {
		out = append(out, attack{name: "a hash prefix " + name, stored: "1 3 3 3", do: func(r *testrepo.Repo) {
			first(r, testrepo.Delegation{Name: "attacker", HashPrefixes: []string{prefix}})
		}})
	}
	for _, name := range []string{
		"..", ".", "../role", "../../etc/passwd", "/etc/passwd", `..\role`, `C:\role`, "role/../targets", "roles/1.root", "roots/1.root", "root.json", "..%2Frole", "%2e%2e", "a/b/c", "con", "nul", "role.", "role ", " ",
		"~", "$HOME", "`id`", "a\x00b", "a\nb", "-rf", ".hidden", "lock", "tmp/x", "ROLE", strings.Repeat("long", 64), "\u202erole", "r\u00f6le", "ro\u0308le", "targets.json", "1.root",
	} {
		out = append(out, attack{name: fmt.Sprintf("harmless: a role called %.20q", name), stored: "1 3 3 3", do: func(r *testrepo.Repo) {
			// It is asked before the honest role, and stored, and lists nothing.
			r.Delegate("targets", testrepo.Delegation{Name: name, Paths: []string{"*"}})
			ds := r.Roles["targets"].Delegations
			ds[0], ds[len(ds)-1] = ds[len(ds)-1], ds[0]
			r.Publish()
		}})
	}
	for _, path := range []string{"../file", "/file", "a/../file", "./file", "a//file", "file/", "", ".", "..", "a\\file", "a\x00file", "a\nfile", strings.Repeat("p", 1025), "a/./file", "file\x7f"} {
		out = append(out, attack{
			name: fmt.Sprintf("a target called %.20q", path), want: verdict{trust.Malformed, "role", "4.3"}, stored: "1 3 3 2",
			do: edit("role", func(signed map[string]any) {
				set("targets x", nil)(signed)
				targets := signed["targets"].(map[string]any)
				delete(targets, "x")
				targets[path] = targets["file"]
			}),
		})
	}
	return out
}

// targetAttacks give other bytes for the file than are listed.
func targetAttacks() []attack {
	var out []attack
	content := []byte("honest content")
	hash, length := verdict{trust.Hash, "role", "5.7.3"}, verdict{trust.Length, "role", "5.7.3"}
	add := func(name string, want verdict, do func(r *testrepo.Repo, name string)) {
		out = append(out, attack{name: "bytes: " + name, want: want, stored: "1 2 2 2", do: func(r *testrepo.Repo) { do(r, r.TargetName("file", content)) }})
	}
	serve := func(data []byte) func(r *testrepo.Repo, name string) {
		return func(r *testrepo.Repo, name string) { r.ServeTarget(name, data) }
	}
	add("others of the same length", hash, serve([]byte("honest_content")))
	add("none", length, serve(nil))
	add("fewer", length, serve(content[:5]))
	add("all but one", length, serve(content[:len(content)-1]))
	add("in UTF-16", hash, serve(bytes.ReplaceAll(content, []byte("o"), []byte("o\x00"))))
	add("without end, and wrong", hash, func(r *testrepo.Repo, name string) { r.Break("targets/"+name, testrepo.Fault{Endless: true}) })
	add("absent", verdict{trust.Missing, "role", "5.7.3"}, func(r *testrepo.Repo, name string) {
		r.Break("targets/"+name, testrepo.Fault{Err: fmt.Errorf("gone: %w", client.ErrAbsent)})
	})
	add("out of reach", verdict{code: network}, func(r *testrepo.Repo, name string) {
		r.Break("targets/"+name, testrepo.Fault{Err: &client.NetworkError{URL: "http://example.com", Err: io.ErrUnexpectedEOF}})
	})
	add("always breaking off", verdict{code: network}, func(r *testrepo.Repo, name string) { r.Break("targets/"+name, testrepo.Fault{Breaks: 100}) })
	add("harmless: breaking off once", verdict{}, func(r *testrepo.Repo, name string) { r.Break("targets/"+name, testrepo.Fault{Breaks: 1}) })
	add("harmless: more behind the listed ones", verdict{}, serve(append(bytes.Clone(content), "evil"...)))
	listed := func(name string, want verdict, change map[string]any) {
		out = append(out, attack{name: "listed: " + name, want: want, stored: "1 3 3 2", do: edit("role", func(signed map[string]any) {
			for member, value := range change {
				set("targets file "+member, value)(signed)
			}
		})})
	}
	sum := sha256.Sum256(content)
	right := hex.EncodeToString(sum[:])
	listed("a length that is too small", hash, map[string]any{"length": 5})
	listed("a length that is too large", length, map[string]any{"length": 1 << 30})
	listed("a length beyond every limit", verdict{trust.Malformed, "role", "4.3"}, map[string]any{"length": int64(1)<<40 + 1})
	listed("a hash that nobody knows", verdict{trust.Unsupported, "role", "5.7.3"}, map[string]any{"hashes": map[string]any{"blake9": right}})
	listed("a hash that nobody knows beside a right one", verdict{trust.Unsupported, "role", "5.7.3"}, map[string]any{"hashes": map[string]any{"blake9": "00", "sha256": right}})
	listed("MD5 only", verdict{trust.Unsupported, "role", "5.7.3"}, map[string]any{"hashes": map[string]any{"md5": strings.Repeat("0", 32)}})
	listed("a right hash and a wrong one", hash, map[string]any{"hashes": map[string]any{"sha256": right, "sha512": strings.Repeat("0", 128)}})
	return out
}
