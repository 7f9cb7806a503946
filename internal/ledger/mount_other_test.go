//go:build !linux

package ledger_test

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }
func grow(string) error       { return errors.ErrUnsupported }
func readOnly(string) error   { return errors.ErrUnsupported }
func unmount(string) error    { return errors.ErrUnsupported }
