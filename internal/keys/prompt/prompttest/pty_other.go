//go:build !linux

package prompttest

// Have is false: the stories have terminals on Linux only.
func Have() bool { return false }

// Typist has nothing to type at.
func Typist() int { return 1 }
