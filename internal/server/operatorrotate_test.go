package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/bailiwick/internal/ledger"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
)

// rotate asks for a change of keys.
func (b *bureau) rotate(t *testing.T, body string) answer {
	t.Helper()
	return b.operate(t, "POST", "/rotations", strings.NewReader(body), "Content-Type: application/json", "Accept: application/problem+json")
}

func heldKey(t *testing.T, name string) (string, key.Signer) {
	t.Helper()
	s := maintainer(t, name)
	data, err := json.Marshal(server.NewHeldKey(sitting.Holder{Name: name, Key: s.Public()}))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), s
}

// TestRotationWalk: another key comes to root, both sign, and the repository names both.
func TestRotationWalk(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	dave, signer := heldKey(t, "dave")
	planned := decoded[server.SittingAnswer](t, b.rotate(t, `{"changes":[{"role":"root","add":[`+dave+`],"threshold":2}],"by":"ops","note":"two are better"}`).want(t, 201))
	if planned.Kind != "root" || planned.By != "ops" || planned.Note != "two are better" || !strings.Contains(strings.Join(planned.Summary, "\n"), "dave") {
		t.Errorf("planned %+v", planned)
	}
	if len(planned.Missing) != 2 || !strings.Contains(fmt.Sprint(planned.Missing[1].Holders), "dave") {
		t.Errorf("missing %+v, want the keys of the old root, and of the new one with its holder", planned.Missing)
	}
	r, err := sitting.Decode(strings.NewReader(b.operate(t, "GET", "/requests/"+planned.ID, nil).want(t, 200).body))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []key.Signer{b.keys[policy.KeyRoot], signer} {
		sig, err := k.Sign(t.Context(), r.Payload(tuf.RoleRoot).Message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Add(tuf.RoleRoot, tuf.Signature{KeyID: k.Public().ID(), Sig: sig}); err != nil {
			t.Fatal(err)
		}
	}
	outcome := decoded[server.OperatorOutcomeAnswer](t, b.operate(t, "POST", "/requests", encoded(t, r), ndjson).want(t, 200))
	if outcome.Publication != 2 {
		t.Errorf("outcome %+v", outcome)
	}
	if a, _ := b.publisher.Current().Set().Root().Authority(tuf.RoleRoot); a.Threshold() != 2 || len(a.KeyIDs()) != 2 {
		t.Errorf("root is signed by %d of %v", a.Threshold(), a.KeyIDs())
	}
	if names := b.index.Holders(); names[signer.Public().ID()] != "dave" {
		t.Errorf("the holders are %v", names)
	}
}

func TestRotationsThatAreRefused(t *testing.T) {
	b := newBureau(t, ledger.NewMemory(), publish.Config{})
	dave, _ := heldKey(t, "dave")
	timestamp, err := json.Marshal(server.NewHeldKey(sitting.Holder{Name: "thief", Key: b.keys[policy.KeyTimestamp].Public()}))
	if err != nil {
		t.Fatal(err)
	}
	many := strings.TrimSuffix(strings.Repeat(dave+",", sitting.MaxHolders+1), ",")
	for name, test := range map[string]struct{ body, says string }{
		"nothing":               {`{}`, "no keys are changed"},
		"no JSON":               {`{`, ""},
		"an unknown member":     {`{"changes":[],"steal":true}`, ""},
		"an unknown role":       {`{"changes":[{"role":"mirrors"}]}`, "no keys of its own"},
		"no change":             {`{"changes":[{"role":"root"}]}`, "already"},
		"twice":                 {`{"changes":[{"role":"root","add":[` + dave + `]},{"role":"root","add":[` + dave + `]}]}`, "twice"},
		"out of reach":          {`{"changes":[{"role":"root","threshold":2}]}`, "1 keys, of which 2"},
		"below zero":            {`{"changes":[{"role":"root","threshold":-1}]}`, "not negative"},
		"too many":              {`{"changes":[{"role":"root","add":[` + many + `]}]}`, "at most 20"},
		"an online key added":   {`{"changes":[{"role":"timestamp","add":[` + dave + `]}]}`, "made by the server"},
		"no key can be made":    {`{"changes":[{"role":"timestamp"}]}`, "can make no new key"},
		"an online key offline": {`{"changes":[{"role":"root","add":[` + string(timestamp) + `]}]}`, "root and for timestamp"},
		"no such key":           {`{"changes":[{"role":"root","remove":["zoe"]}]}`, "no key of root"},
		"a key of no kind":      {`{"changes":[{"role":"root","add":[{"keytype":"magic","scheme":"magic","public":"00"}]}]}`, "can not be used"},
		"a private key":         {`{"changes":[{"role":"root","add":[{"keytype":"rsa","scheme":"rsassa-pss-sha256","public":"-----BEGIN PRIVATE KEY-----"}]}]}`, "PRIVATE"},
		"a key with more in it": {
			`{"changes":[{"role":"root","add":[` + strings.Replace(dave, `"scheme"`, `"private":"00","scheme"`, 1) + `]}]}`, "private",
		},
		"a name with an escape": {`{"changes":[{"role":"root","add":[` + strings.Replace(dave, `"dave"`, `"da\u001bve"`, 1) + `]}]}`, "can not be the name"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.rotate(t, test.body)
			if a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("%s: %s", a.Status, a.body)
			}
			if !strings.Contains(a.body, test.says) {
				t.Errorf("the answer is %s, want it to say %q", a.body, test.says)
			}
		})
	}
	list := decoded[server.OperatorRequestsAnswer](t, b.operate(t, "GET", "/requests", nil).want(t, http.StatusOK))
	if len(list.Requests) != 0 {
		t.Errorf("%d requests were opened", len(list.Requests))
	}
	for who, status := range map[string]int{"upload": 403, "signer": 403} {
		b.do(t, "POST", "/api/v1/operator/rotations", strings.NewReader(`{"changes":[{"role":"timestamp"}]}`), bearer(b.tokens[who]), "Content-Type: application/json").want(t, status)
	}
	b.do(t, "POST", "/api/v1/operator/rotations", strings.NewReader(`{}`), "Content-Type: application/json").want(t, http.StatusUnauthorized)
}
