//go:build unix

package proxy

import (
	"errors"
	"syscall"
)

func isTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
