package keys_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/keys"
	"example.com/bailiwick/internal/keys/keystest"
	"example.com/bailiwick/internal/needs"
)

func runs(t *testing.T, environ []string, stdin, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), environ...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

// realAgent starts the ssh-agent of OpenSSH.
func realAgent(t *testing.T) (socket string) {
	t.Helper()
	needs.Programs(t, "openssh-client", "ssh-agent", "ssh-add", "ssh-keygen")
	socket = socketPath(t)
	cmd := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, socket) { // it listens by then
		t.Fatalf("ssh-agent said %q, %v", line, err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return socket
}

func TestRealAgent(t *testing.T) {
	socket := realAgent(t)
	env := []string{"SSH_AUTH_SOCK=" + socket}
	dir := t.TempDir()
	wantTypes := map[string]string{}
	for _, k := range []struct{ comment, kind, bits, want string }{
		{"ed", "ed25519", "256", "ed25519"},
		{"ec256", "ecdsa", "256", "ecdsa-p256"},
		{"ec384", "ecdsa", "384", "ecdsa-p384"},
		{"ec521", "ecdsa", "521", "ecdsa-p521"},
		{"rsa", "rsa", "2048", "rsa-2048"},
	} {
		file := filepath.Join(dir, k.comment)
		runs(t, nil, "", "ssh-keygen", "-q", "-N", "", "-t", k.kind, "-b", k.bits, "-C", k.comment, "-f", file)
		runs(t, env, "", "ssh-add", "-q", file)
		wantTypes[k.comment] = k.want
	}
	o := agentOpener(t, socket)
	all, err := o.List(t.Context(), "ssh-agent:")
	if err != nil || len(all) != len(wantTypes) {
		t.Fatalf("List = %v, %v", all, err)
	}
	listed := runs(t, env, "", "ssh-add", "-l")
	for _, k := range all {
		if k.Type != wantTypes[k.Name] {
			t.Errorf("%s is of the type %s, want %s", k.Name, k.Type, wantTypes[k.Name])
		}
		if !strings.Contains(listed, k.SSH+" "+k.Name) {
			t.Errorf("ssh-add -l does not show %s %s:\n%s", k.SSH, k.Name, listed)
		}
		if wantUsable := k.Name != "rsa" && k.Name != "ec521"; (k.Problem == nil) != wantUsable {
			t.Errorf("%s: %v", k.Name, k.Problem)
		}
	}
	for _, name := range []string{"ed", "ec256", "ec384"} {
		t.Run(name, func(t *testing.T) {
			s, err := o.OpenOne(t.Context(), "ssh-agent:"+name)
			if err != nil {
				t.Fatal(err)
			}
			keystest.RunUpTo(t, s, 255<<10)
			if _, err := s.Sign(t.Context(), make([]byte, 1<<20)); !errors.Is(err, keys.ErrTooLong) {
				t.Errorf("a long message: %v", err)
			}
		})
	}
	t.Run("locked", func(t *testing.T) {
		askpass := filepath.Join(dir, "askpass")
		write(t, askpass, "#!/bin/sh\necho secret\n", 0o700)
		withAskpass := append(env, "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:0")
		s, err := o.OpenOne(t.Context(), "ssh-agent:ed")
		if err != nil {
			t.Fatal(err)
		}
		runs(t, withAskpass, "", "ssh-add", "-x")
		_, err = o.Open(t.Context(), "ssh-agent:")
		wantErr(t, "locked", err, keys.ErrNoKey)
		if _, err := s.Sign(t.Context(), []byte("m")); err == nil || !strings.Contains(err.Error(), "ssh-add -X") {
			t.Errorf("signing while it is locked: %v", err)
		}
		runs(t, withAskpass, "", "ssh-add", "-X")
		if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
			t.Errorf("signing after unlocking: %v", err)
		}
	})
}
