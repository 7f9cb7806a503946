package sitting_test

import (
	"bytes"
	"strings"
	"testing"

	"example.com/bailiwick/internal/sitting"
)

// TestWrongKindOfFile: who hands over another file than the one wanted reads what it is, and what it is for.
func TestWrongKindOfFile(t *testing.T) {
	s := newStage(t)
	request := encoded(t, s.r)
	root := s.r.Chain.Roots[0]
	secret := "-----BEGIN PRIVATE KEY-----\n"
	for name, test := range map[string]struct {
		file, kind, use string
		reason          sitting.Reason
	}{
		"a key file":             {"bailiwick-key 1\nname: alice\npublic: AAAA\n-----BEGIN AGE ENCRYPTED FILE-----\n", "a key file", "with --key", sitting.Malformed},
		"a plain key file":       {"bailiwick-key 1\nname: alice\npublic: AAAA\n" + secret, "the file holds a PRIVATE key", "make a new one", sitting.PrivateKey},
		"an invitation":          {`{"bailiwick-invitation":1,"by":"x"}` + "\n", "an invitation", "bailiwick-sign accept", sitting.Malformed},
		"an acceptance":          {`{"accepted":"2030-01-01T00:00:00Z","bailiwick-acceptance":1}` + "\n", "an acceptance", "--accepted", sitting.Malformed},
		"a maintainers' request": {"{\n  \"bailiwick-request\": 1,\n  \"bases\": {}\n}\n", "a signing request of a project's maintainers", "bailiwick sign ", sitting.Malformed},
		"the offline memory":     {"{\n  \"bailiwick-sign\": 1}\n", "the memory of bailiwick-sign", "stays where it is", sitting.Malformed},
		"metadata":               {string(root), "root metadata of a repository", "another file", sitting.Malformed},
		"metadata, indented":     {"{\n  \"signed\": {\n    \"_type\": \"targets\"", "targets metadata of a repository", "another file", sitting.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitting.Decode(strings.NewReader(test.file))
			wantRefused(t, err, test.reason, test.kind)
			if !strings.Contains(err.Error(), test.use) {
				t.Errorf("%v: does not say what it is for: want %q", err, test.use)
			}
			if test.reason == sitting.Malformed && !strings.HasPrefix(err.Error(), "this is not a signing request but "+test.kind+"; ") {
				t.Errorf("says %v", err)
			}
		})
	}
	_, err := sitting.DecodeInvitation(request[:min(len(request), sitting.MaxInvitation)])
	wantRefused(t, err, sitting.Malformed, "this is not an invitation but a signing request; bailiwick-sign shows and signs it")
	_, err = sitting.DecodeAcceptance(root)
	wantRefused(t, err, sitting.Malformed, "this is not an acceptance but root metadata of a repository")
	if _, err := sitting.Decode(bytes.NewReader(request)); err != nil {
		t.Errorf("the request itself: %v", err)
	}
}
