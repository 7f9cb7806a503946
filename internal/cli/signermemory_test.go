package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/tuf"
)

func openMemory(t *testing.T, dir string) custody.Memory {
	t.Helper()
	m, closeIt, err := cli.SignerMemory(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeIt() }) // closed again in reopen
	return m
}

// TestSignerMemory: what is kept is there after a restart; the newest takes the place of the one before, and names
// stay retired for ever.
func TestSignerMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	m, closeIt, err := cli.SignerMemory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := m.Last(t.Context()); last != nil || err != nil {
		t.Errorf("a new memory holds %v, %v", last, err)
	}
	var want *custody.Signed
	for n := range int64(3) {
		want = &custody.Signed{
			ID: [32]byte{byte(n), 1}, Number: n + 2, Time: time.Date(2030, 1, 1, 0, 0, int(n), 0, time.UTC), Snapshot: [32]byte{2, byte(n)},
			Roles: map[tuf.RoleName]int64{"project.flask": n + 1, "unclaimed-3f": 2}, Answer: fmt.Appendf(nil, `{"n":%d}`, n),
		}
		if err := m.Keep(t.Context(), want, []tuf.TargetPath{tuf.TargetPath(fmt.Sprintf("3f/flask/flask-%d.tar.gz", n)), "3f/flask/é.whl"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := cli.SignerMemory(dir); err == nil {
			t.Fatal("two signers share a memory")
		}
		if err := closeIt(); err != nil {
			t.Fatal(err)
		}
		if m, closeIt, err = cli.SignerMemory(dir); err != nil {
			t.Fatal(err)
		}
		got, err := m.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		for i := range int64(5) {
			path := tuf.TargetPath(fmt.Sprintf("3f/flask/flask-%d.tar.gz", i))
			if retired, err := m.Retired(t.Context(), path); retired != (i <= n) || err != nil {
				t.Errorf("after %d, %s is retired: %t, %v", n, path, retired, err)
			}
		}
	}
	if err := closeIt(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"signed.json", "retired", "format"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || name != "format" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestSignerMemoryDamage: a line that was never finished is not part of the list; everything else that is not as it
// was written stops the signer before it signs anything.
func TestSignerMemoryDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	m, closeIt, err := cli.SignerMemory(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &custody.Signed{Number: 2, Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Answer: []byte(`{}`)}
	if err := m.Keep(t.Context(), s, []tuf.TargetPath{"a/b/one"}); err != nil {
		t.Fatal(err)
	}
	if err := closeIt(); err != nil {
		t.Fatal(err)
	}
	retired := filepath.Join(dir, "retired")
	torn, err := os.OpenFile(retired, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := torn.WriteString("a/b/tw"); err != nil {
		t.Fatal(err)
	}
	torn.Close()
	m = openMemory(t, dir)
	if is, _ := m.Retired(t.Context(), "a/b/tw"); is {
		t.Error("half a name is retired")
	}
	if err := m.Keep(t.Context(), s, []tuf.TargetPath{"a/b/x"}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(retired); err != nil || string(data) != "a/b/one\na/b/x\n" {
		t.Errorf("the list is %q, %v", data, err)
	}

	for what, text := range map[string]string{
		"nothing": "", "half": `{"proposal":"`, "another form": `{"signed":1}`, "a short sum": `{"proposal":"00","snapshot":"00","answer":{}}`,
	} {
		dir := filepath.Join(t.TempDir(), "state")
		_, closeIt, err := cli.SignerMemory(dir)
		if err == nil {
			err = closeIt()
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "signed.json"), []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := cli.SignerMemory(dir); err == nil {
			t.Errorf("a memory with %s in it was opened", what)
		}
	}
}
