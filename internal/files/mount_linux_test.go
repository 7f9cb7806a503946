package files_test

import "syscall"

// mountSmall, readOnly and unmount make a file system in memory misbehave as disks do.

func mountSmall(dir string) error {
	return syscall.Mount("files-test", dir, "tmpfs", 0, "size=2m")
}

func readOnly(dir string) error {
	return syscall.Mount("files-test", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
