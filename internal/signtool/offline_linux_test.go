package signtool_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/bailiwick/internal/needs"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
)

// binary builds the real program, as it is handed out.
func binary(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bailiwick-sign")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, "example.com/bailiwick/cmd/bailiwick-sign")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, said)
	}
	return out
}

// offline puts a program into a network namespace of its own, which has no interface but a loopback that is
// down. It takes root, or a kernel that lets everybody make user namespaces.
func offline(cmd *exec.Cmd) *exec.Cmd {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	return cmd
}

// needsNamespaces skips where a process cannot get a network namespace; in CI, it fails.
func needsNamespaces(t *testing.T) {
	t.Helper()
	out, err := offline(exec.CommandContext(t.Context(), "cat", "/proc/self/net/dev")).Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOSYS) {
		needs.Without(t, fmt.Sprintf("a process cannot get a network namespace here (%v); run the test as root, in a container with the capability SYS_ADMIN", err))
	}
	must(t, err)
	interfaces := regexp.MustCompile(`(?m)^\s*(\S+):`).FindAllStringSubmatch(string(out), -1)
	if len(interfaces) > 1 || len(interfaces) == 1 && interfaces[0][1] != "lo" {
		t.Fatalf("the namespace has interfaces: %s", out)
	}
	out, err = offline(exec.CommandContext(t.Context(), "cat", "/proc/self/net/route")).Output()
	must(t, err)
	if n := strings.Count(string(out), "\n"); n > 1 {
		t.Fatalf("the namespace has routes: %s", out)
	}
}

// TestSignsWithoutANetwork: the whole life of an operator's key, by the program as it is handed out, where
// there is no network.
func TestSignsWithoutANetwork(t *testing.T) {
	needsNamespaces(t)
	w := newWorld(t, 16)
	w.now = time.Now().UTC().Truncate(time.Second)
	w.again()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "invitation.json"), invite(t, w, "alice"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "pass.txt"), []byte(phrase+"\n"), 0o600))
	file := filepath.Base(w.plan(dir, sitting.Wishes{All: true}))
	w.keyFile(dir, policy.KeyClaimed, 0)
	w.keyFile(dir, policy.KeyUnclaimed, 0)
	w.keyFile(dir, policy.KeyTargets, 0)
	program := binary(t)
	for _, args := range []string{
		"show " + file,
		"show " + file + " --all",
		file + " --key claimed.key --key file:unclaimed.key --yes --out half",
		"half --key targets.key --yes --out signed",
		"new-key --out alice.key",
		"accept invitation.json --key alice.key --yes --out accepted",
	} {
		cmd := offline(exec.CommandContext(t.Context(), program, strings.Fields(args)...))
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "BAILIWICK_PASSPHRASE_FILE=pass.txt"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("bailiwick-sign %s: %v: %s", args, err, out)
		}
	}
	w.now = time.Now()
	w.accept(filepath.Join(dir, "signed"))
	data, err := os.ReadFile(filepath.Join(dir, "accepted"))
	must(t, err)
	if _, err := sitting.DecodeAcceptance(data); err != nil {
		t.Error(err)
	}
}

// TestKilledAnywhere: a program that is killed at any moment leaves nothing that the next run does not end.
func TestKilledAnywhere(t *testing.T) {
	w := newWorld(t, 256)
	w.now = time.Now().UTC().Truncate(time.Second)
	w.again()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pass.txt"), []byte(phrase+"\n"), 0o600))
	file := filepath.Base(w.plan(dir, sitting.Wishes{All: true}))
	w.keyFile(dir, policy.KeyClaimed, 0)
	program := binary(t)
	run := func(kill time.Duration) (ended bool) {
		cmd := exec.CommandContext(t.Context(), program, file, "--key", "claimed.key", "--yes", "--out", "signed")
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "BAILIWICK_PASSPHRASE_FILE=pass.txt"}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		must(t, cmd.Start())
		if kill > 0 {
			timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		err := cmd.Wait()
		if err != nil && cmd.ProcessState.Exited() {
			t.Fatalf("after %s: %v: %s", kill, err, said.String())
		}
		return err == nil
	}
	began := time.Now()
	if !run(0) {
		t.Fatal("it does not sign at all")
	}
	whole := time.Since(began)
	const kills = 12
	for i := range kills {
		must(t, os.Remove(filepath.Join(dir, "signed")))
		must(t, os.RemoveAll(filepath.Join(dir, ".local")))
		if !run(whole * time.Duration(i+1) / kills) {
			if _, err := os.Stat(filepath.Join(dir, "signed")); err != nil { // not killed after its last step
				run(0)
			}
		}
		_ = os.Remove(filepath.Join(dir, "signed.partial"))
		v, err := sitting.Judge(readRequest(t, filepath.Join(dir, "signed")), w.now)
		must(t, err)
		for _, m := range v.Missing {
			if policy.KindOf(m.Role) == policy.KindClaimedBin || m.Role == policy.RoleClaimed {
				t.Fatalf("killed at %d of %d: %v", i, kills, m)
			}
		}
	}
}

// TestMemoryOnAReadOnlyDisk: what can not be remembered is not signed.
func TestMemoryOnAReadOnlyDisk(t *testing.T) {
	if needs.Mounts(t) {
		return
	}
	w, d := newWorld(t, 16), newDesk(t)
	file := w.plan(d.dir, sitting.Wishes{All: true})
	disk := needs.NewDisk(t)
	disk.ReadOnly()
	s := d.refuses(1, "nothing was signed", file, "--yes", "--key", w.keyFile(d.dir, policy.KeyClaimed, 0), "--out", d.path("signed"), "--memory", disk.Dir)
	if !strings.Contains(s.stderr, "--memory DIR") {
		t.Errorf("does not say what to do: %s", s.stderr)
	}
	wantNames(t, d, "signed", false)
}
