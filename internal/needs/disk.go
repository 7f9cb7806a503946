package needs

import "testing"

// Disk is a file system of 2 MB in memory, which misbehaves as disks do. It is unmounted when the test ends.
type Disk struct {
	tb  testing.TB
	Dir string // where it is mounted, with mode 0700
}

// NewDisk mounts a disk. The test has asked [Mounts] before.
func NewDisk(tb testing.TB) *Disk {
	tb.Helper()
	d := &Disk{tb: tb, Dir: tb.TempDir()}
	if err := mountSmall(d.Dir); err != nil {
		Without(tb, "a file system cannot be mounted here ("+err.Error()+"); run the test on Linux, in a container with the capability SYS_ADMIN")
	}
	tb.Cleanup(func() {
		if err := unmount(d.Dir); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// Grow makes it a disk of 64 MB.
func (d *Disk) Grow() {
	d.tb.Helper()
	if err := grow(d.Dir); err != nil {
		d.tb.Fatal(err)
	}
}

// ReadOnly lets nobody write to it any more; nothing on it may be open for writing.
func (d *Disk) ReadOnly() {
	d.tb.Helper()
	if err := readOnly(d.Dir); err != nil {
		d.tb.Fatal(err)
	}
}
