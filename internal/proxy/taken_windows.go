package proxy

import (
	"errors"
	"syscall"
)

// Windows' numbers for an address in use, and for one where nothing listens.
const (
	wsaAddrInUse   = syscall.Errno(10048)
	wsaConnRefused = syscall.Errno(10061)
)

func isTaken(err error) bool { return errors.Is(err, wsaAddrInUse) }

func isRefused(err error) bool { return errors.Is(err, wsaConnRefused) }
