package cli_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiwick/internal/cli"
	"example.com/bailiwick/internal/needs"
)

// TestOutOnABadDisk: a file that can not be written is the fault of its disk and not of the index, and what was to be in it is
// not lost: the error says where it is.
func TestOutOnABadDisk(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	dir, disk := t.TempDir(), needs.NewDisk(t)
	data, good, bad := filepath.Join(dir, "data"), filepath.Join(dir, "good.request"), filepath.Join(disk.Dir, "out.request")
	run := func(args ...string) (int, string) {
		t.Helper()
		var said bytes.Buffer
		env := cli.OSEnv().WithWorkFactor(cheapWork)
		env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &said, &said
		return cli.Main(t.Context(), args, env), said.String()
	}
	refused := func(code int, said string, want ...string) {
		t.Helper()
		if code != 1 || strings.Contains(said, "answer of") {
			t.Errorf("code %d: %s", code, said)
		}
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("does not say %q: %s", w, said)
			}
		}
	}
	if code, said := run("init", "--data", data, "--offline-keys", filepath.Join(dir, "offline"), "--bins", "16"); code != 0 {
		t.Fatal(said)
	}

	fill(t, disk.Dir)
	code, said := run("rotate", "registry", "--data", data, "--out", bad)
	m := regexp.MustCompile(`request ([0-9a-f]{16}) is open all the same`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("names no request: %s", said)
	}
	refused(code, said, "writing "+bad+": no space left on the disk", "bailiwick request export "+m[1]+" --out FILE")
	if left, err := filepath.Glob(filepath.Join(disk.Dir, "*out*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left on the disk (%v)", left, err)
	}

	t.Setenv("TMPDIR", disk.Dir)
	code, said = run("request", "show", m[1], "--data", data)
	refused(code, said, "no space left on the disk", "TMPDIR")
	t.Setenv("TMPDIR", "")

	disk.ReadOnly()
	code, said = run("request", "export", m[1], "--data", data, "--out", bad)
	refused(code, said, "writing "+bad+": the disk is read-only: mount it for writing, or choose a place on another one")
	code, said = run("keys", "new", "--out", filepath.Join(disk.Dir, "x.key"), "--passphrase-file", passFile(t))
	refused(code, said, "the disk is read-only: mount it for writing")
	code, said = run("init", "--data", filepath.Join(disk.Dir, "data"), "--offline-keys", filepath.Join(dir, "other"))
	refused(code, said, "making the folder "+filepath.Join(disk.Dir, "data")+": the disk is read-only: mount it for writing")
	code, said = run("request", "export", m[1], "--data", data, "--out", filepath.Join(dir, "nosuch", "x"))
	refused(code, said, "nosuch", "--out FILE writes it to another place")

	if code, said := run("request", "export", m[1], "--data", data, "--out", good); code != 0 {
		t.Errorf("to a good disk: code %d: %s", code, said)
	}
}

// fill leaves no room on a disk.
func fill(t *testing.T, dir string) {
	t.Helper()
	err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 4<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
}

func passFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(path, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
