//go:build !linux

package cli_test

import "os/exec"

func (s *story) atTerminal(*exec.Cmd) error {
	s.t.Skip("SKIPPED: the stories have a terminal on Linux only")
	return nil
}
