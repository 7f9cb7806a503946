//go:build !linux

package cli_test

// haveTerminal: the stories have one on Linux only.
func haveTerminal() bool { return false }

func typist() int { return 1 }
