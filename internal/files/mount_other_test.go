//go:build !linux

package files_test

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }
func readOnly(string) error   { return errors.ErrUnsupported }
func unmount(string) error    { return errors.ErrUnsupported }
