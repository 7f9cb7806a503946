package proxy

import (
	"errors"
	"syscall"
)

// wsaAddrInUse is Windows' number for an address in use.
const wsaAddrInUse = syscall.Errno(10048)

func isTaken(err error) bool { return errors.Is(err, wsaAddrInUse) }
