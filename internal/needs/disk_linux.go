package needs

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Mounts lets a test mount file systems. As root, the test goes on. As anybody else it is run once more, in a process that is root in a user
// namespace of its own; Mounts then returns true, and there is nothing left to do.
func Mounts(t *testing.T) (done bool) {
	t.Helper()
	if os.Geteuid() == 0 {
		return false
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run", "^"+regexp.QuoteMeta(t.Name())+"$")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case cmd.ProcessState == nil:
		Without(t, "a user namespace cannot be made here ("+err.Error()+"); run the test as root")
	case strings.Contains(string(out), "--- SKIP: "+t.Name()):
		Without(t, "a file system cannot be mounted in a user namespace here; run the test as root")
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("in a user namespace: %v\n%s", err, out)
	}
	return true
}

func mountSmall(dir string) error {
	return syscall.Mount("small-disk", dir, "tmpfs", 0, "size=2m,mode=0700")
}

func grow(dir string) error {
	return syscall.Mount("small-disk", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m")
}

func readOnly(dir string) error {
	return syscall.Mount("small-disk", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
