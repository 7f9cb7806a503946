package gotuf_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiwick/internal/testrepo"
)

// A difference is an input on which clients come to other verdicts than ours, with the
// verdicts as measured. docs/decisions/0008-where-verdicts-differ.md says why ours is
// right; a test there and here would notice when another client changes its mind.
type difference struct {
	name               string
	ours, gotuf, pytuf string
	first              func(r *testrepo.Repo) // before clients see the repository for the first time
	then               func(r *testrepo.Repo) // nil: one session only
	local              func(dir string) error // done to the client's own folder of metadata between the two
	path               string                 // default "file"
}

// signedText replaces the text of what a role signs, at the version that is served, and
// signs it again as it is. A valid signature by the right key.
func signedText(r *testrepo.Repo, role string, change func(string) string) {
	_, signed, _ := strings.Cut(string(r.Bytes(role)), `"signed":`)
	signed = change(strings.TrimSuffix(signed, "}"))
	holders := r.Top[role]
	if holders.Threshold == 0 {
		holders = r.Roles[role].Holders
	}
	var sigs []string
	for _, k := range holders.Keys {
		sigs = append(sigs, fmt.Sprintf(`{"keyid":"%s","sig":"%s"}`, k.ID(), hex.EncodeToString(ed25519.Sign(k.Private, []byte(signed)))))
	}
	r.Serve(r.FileName(role), []byte(`{"signatures":[`+strings.Join(sigs, ",")+`],"signed":`+signed+`}`))
}

// altered changes a file after it was signed, by somebody without any key.
func altered(r *testrepo.Repo, role, old, with string) {
	data := bytes.Replace(r.Served(role), []byte(old), []byte(with), 1)
	if bytes.Equal(data, r.Served(role)) {
		panic(fmt.Sprintf("%s has no %s: %s", role, old, data))
	}
	r.Serve(r.FileName(role), data)
}

// at goes down members of objects, and copies them on the way, since they are shared.
func at(object map[string]any, names ...string) map[string]any {
	for _, name := range names {
		clone := map[string]any{}
		for k, v := range object[name].(map[string]any) {
			clone[k] = v
		}
		object[name], object = clone, clone
	}
	return object
}

// delegation is the first delegation of what targets sign.
func delegation(signed map[string]any) map[string]any {
	return signed["delegations"].(map[string]any)["roles"].([]any)[0].(map[string]any)
}

// editing publishes a role with what is signed changed before.
func editing(role string, change func(signed map[string]any)) func(*testrepo.Repo) {
	return func(r *testrepo.Repo) {
		r.Edit[role] = change
		if role == "root" {
			r.PublishRoot()
			return
		}
		if role != "timestamp" && role != "snapshot" {
			r.Touch(role)
		}
		r.Publish()
	}
}

func differences() []difference {
	one := testrepo.NewKey("role-1")
	other := one
	other.Object = map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": one.Object["keyval"], "x": 1}
	unknown := testrepo.NewKey("unknown")
	unknown.Object = map[string]any{"keytype": "ml-dsa", "scheme": "ml-dsa-65", "keyval": map[string]any{"public": "AA=="}}
	redelegate := func(h testrepo.Holders) func(*testrepo.Repo) {
		return func(r *testrepo.Repo) {
			r.Roles["targets"].Delegations[0].Holders, r.Roles["role"].Holders = h, h
			r.Touch("targets", "role")
			r.Publish()
		}
	}
	digest := func(path string) string {
		sum := sha256.Sum256([]byte(path))
		return hex.EncodeToString(sum[:])
	}
	return append([]difference{
		// What a stranger without any key can do to a signed file.
		{name: "a member given twice, by a stranger", ours: refused, gotuf: accepted, pytuf: accepted, first: func(r *testrepo.Repo) {
			altered(r, "timestamp", `{"_type"`, `{"version":1,"_type"`)
		}},
		{name: "a length of zero added, by a stranger", ours: refused, gotuf: accepted, pytuf: refused, first: func(r *testrepo.Repo) {
			altered(r, "timestamp", `"snapshot.json":{`, `"snapshot.json":{"length":0,`)
		}},
		{name: "a fraction added to the date, by a stranger", ours: refused, gotuf: accepted, pytuf: refused, first: func(r *testrepo.Repo) {
			altered(r, "timestamp", `:00Z"`, `:00.000Z"`)
		}},
		{name: "a hash in capitals, by a stranger", ours: refused, gotuf: accepted, pytuf: refused, first: func(r *testrepo.Repo) {
			sum := strings.Split(strings.Split(string(r.Bytes("role")), `"sha256":"`)[1], `"`)[0]
			altered(r, "role", sum, strings.ToUpper(sum))
		}},
		// What the holder of one key can do.
		{name: "one key under two ids, threshold two", ours: refused, gotuf: refused, pytuf: accepted,
			first: redelegate(testrepo.Holders{Keys: []testrepo.Key{one, other}, Threshold: 2})},
		{name: "a target that is null", ours: refused, gotuf: crashed, pytuf: refused, first: func(r *testrepo.Repo) {
			editing("role", func(signed map[string]any) { at(signed, "targets")["file"] = nil })(r)
			r.DropSignatures("role")
		}},
		{name: "version zero of the timestamp", ours: refused, gotuf: accepted, pytuf: refused, first: func(r *testrepo.Repo) {
			signedText(r, "timestamp", func(s string) string {
				i := strings.LastIndex(s, `"version":`)
				return s[:i] + `"version":0}`
			})
		}},
		{name: "another major version of the specification", ours: refused, gotuf: accepted, pytuf: refused,
			first: editing("timestamp", func(signed map[string]any) { signed["spec_version"] = "2.0.0" })},
		{name: "two delegations to one name", ours: refused, gotuf: accepted, pytuf: refused, first: editing("targets", func(signed map[string]any) {
			ds := at(signed, "delegations")
			ds["roles"] = append(ds["roles"].([]any), ds["roles"].([]any)[0])
		})},
		{name: "a delegated role called Root", ours: refused, gotuf: accepted, pytuf: accepted, first: func(r *testrepo.Repo) {
			r.Delegate("targets", testrepo.Delegation{Name: "Root", Paths: []string{"other"}})
			r.Publish()
		}},
		{name: "more than the snapshot in the timestamp", ours: refused, gotuf: accepted, pytuf: refused, first: editing("timestamp", func(signed map[string]any) {
			at(signed, "meta")["targets.json"] = map[string]any{"version": 1}
		})},
		{name: "a target path that leads out of the folder", path: "../file", ours: refused, gotuf: accepted, pytuf: refused, first: func(r *testrepo.Repo) {
			r.AddTarget("targets", "../file", []byte("honest content"))
			r.Publish()
		}},
		{name: "a role of another name in its place, one key for both", ours: refused, gotuf: notFound, pytuf: notFound, first: func(r *testrepo.Repo) {
			r.Edit["role"] = func(signed map[string]any) { signed["role_name"] = "role" }
			r.Edit["twin"] = func(signed map[string]any) { signed["role_name"] = "twin" }
			r.Delegate("targets", testrepo.Delegation{Name: "twin", Paths: []string{"other"}, Holders: testrepo.One("role")})
			r.Touch("role", "twin")
			r.Versions["twin"] = 1
			r.Publish()
			r.Serve(r.FileName("role"), r.Bytes("twin"))
		}},
		{name: "the pattern [!f]ile", ours: notFound, gotuf: accepted, pytuf: notFound, first: func(r *testrepo.Repo) {
			r.Roles["targets"].Delegations[0].Paths = []string{"[!f]ile"}
			r.Touch("targets")
			r.Publish()
		}},
		// What is valid, and must not be refused.
		{name: "a key of an unknown type beside enough known ones", ours: accepted, gotuf: refused, pytuf: refused,
			first: redelegate(testrepo.Holders{Keys: []testrepo.Key{one, unknown}, Threshold: 1})},
		{name: "no word about consistent snapshots", ours: accepted, gotuf: refused, pytuf: accepted, first: func(r *testrepo.Repo) {
			r.Options.Plain = true
			editing("root", func(signed map[string]any) { delete(signed, "consistent_snapshot") })(r)
			r.Touch("targets", "role")
			r.AddTarget("role", "file", []byte("honest content"))
			r.Publish()
		}},
		{name: "no word about terminating", ours: accepted, gotuf: refused, pytuf: refused,
			first: editing("targets", func(signed map[string]any) { delete(delegation(signed), "terminating") })},
		{name: "an integer beyond 2^53 in an unknown member", ours: accepted, gotuf: refused, pytuf: accepted, first: editing("role", func(signed map[string]any) {
			signed["x"] = json.Number("9007199254740993")
		})},
		{name: "a member that looks like a known one", ours: accepted, gotuf: refused, pytuf: accepted,
			first: editing("role", func(signed map[string]any) {
				at(signed, "targets", "file")["ha\u017fhes"] = map[string]any{"sha256": digest("x")}
			})},
		{name: "a hash prefix that fits", ours: accepted, gotuf: notFound, pytuf: accepted, first: func(r *testrepo.Repo) {
			d := &r.Roles["targets"].Delegations[0]
			d.Paths, d.HashPrefixes = nil, []string{digest("file")[:3]}
			r.Touch("targets")
			r.Publish()
		}},
		{name: "a role that root lists beside the four", ours: accepted, gotuf: accepted, pytuf: refused, first: editing("root", func(signed map[string]any) {
			at(signed, "roles")["mirrors"] = map[string]any{"keyids": []any{string(testrepo.NewKey("root-1").ID())}, "threshold": 1}
		})},
	}, sessions()...)
}

// sessions are differences that show in a second session.
func sessions() []difference {
	spoil := func(content string) func(string) error {
		return func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "timestamp.json"), []byte(content), 0o600)
		}
	}
	nothing := func(*testrepo.Repo) {}
	return []difference{
		{name: "an empty timestamp in the client's folder", ours: accepted, gotuf: refused, pytuf: accepted, then: nothing, local: spoil("")},
		{name: "half a timestamp in the client's folder", ours: accepted, gotuf: refused, pytuf: accepted, then: nothing, local: spoil(`{"signatures":[`)},
		{name: "versions fall after the snapshot key changed", ours: accepted, gotuf: refused, pytuf: refused, then: func(r *testrepo.Repo) {
			r.Top["snapshot"] = testrepo.One("new snapshot")
			r.PublishRoot()
			r.Versions["snapshot"] = 0
			r.Publish()
		}},
	}
}

func TestVerdicts(t *testing.T) {
	py := startPython(t)
	for _, d := range differences() {
		t.Run(d.name, func(t *testing.T) {
			for _, c := range []struct {
				name, want string
				look       look
			}{{"ours", d.ours, ours}, {"go-tuf", d.gotuf, goTUF}, {"python-tuf", d.pytuf, py.look}} {
				v := d.play(t, c.look)
				if v.what != c.want {
					t.Errorf("%s: %s (%s), want %s", c.name, v.what, v.detail, c.want)
				}
				if v.what == accepted && v != got("honest content") {
					t.Errorf("%s was given %s", c.name, v.detail)
				}
			}
		})
	}
}

func (d difference) play(t *testing.T, by look) verdict {
	t.Helper()
	r := testrepo.New(t, testrepo.Options{})
	r.Clock = time.Now().UTC().Truncate(time.Minute)
	r.Delegate("targets", testrepo.Delegation{Name: "role", Paths: []string{"*"}})
	r.AddTarget("role", "file", []byte("honest content"))
	r.PublishRoot()
	r.Publish()
	if d.first != nil {
		d.first(r)
	}
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	p, folder := place{server.URL, r.Root(1)}, t.TempDir()
	path := d.path
	if path == "" {
		path = "file"
	}
	v := by(t, folder, p, path)
	if d.then == nil {
		return v
	}
	if v.what != accepted {
		t.Fatalf("the first session: %v", v)
	}
	d.then(r)
	if d.local != nil {
		if err := d.local(filepath.Join(folder, "metadata")); err != nil {
			t.Fatal(err)
		}
	}
	return by(t, folder, p, path)
}

// TestVerdictsAreWrittenDown holds the table of the decision against the cases here.
func TestVerdictsAreWrittenDown(t *testing.T) {
	page, err := os.ReadFile("../../docs/decisions/0008-where-verdicts-differ.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| input") {
			rows++
		}
	}
	all := differences()
	for _, d := range all {
		if row := fmt.Sprintf("| %s | %s | %s | %s | ", d.name, d.ours, d.gotuf, d.pytuf); !strings.Contains(string(page), row) {
			t.Errorf("there is no row %q", row)
		}
		if d.ours == d.gotuf && d.ours == d.pytuf {
			t.Errorf("%s: all agree", d.name)
		}
	}
	if rows != len(all) {
		t.Errorf("%d rows, %d cases", rows, len(all))
	}
}
