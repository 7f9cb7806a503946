//go:build !linux

package needs

import (
	"errors"
	"testing"
)

// Mounts lets a test mount file systems, on Linux.
func Mounts(*testing.T) (done bool) { return false }

func mountSmall(string) error { return errors.ErrUnsupported }
func grow(string) error       { return errors.ErrUnsupported }
func readOnly(string) error   { return errors.ErrUnsupported }
func unmount(string) error    { return errors.ErrUnsupported }
