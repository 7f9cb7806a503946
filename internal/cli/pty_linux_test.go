package cli_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal: what a person sits at, and what the program has.
func openTerminal() (person, program *os.File, err error) {
	person, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, errors.Join(err, person.Close())
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, errors.Join(err, person.Close())
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, person.Close())
	}
	return person, program, nil
}

// atTerminal runs cmd at a terminal. A person types the next line whenever the program has asked for
// one: it has, once the terminal shows a further line that ends in ": " or "[y/N] ".
func (s *story) atTerminal(cmd *exec.Cmd) error {
	lines := strings.SplitAfter(strings.TrimSuffix(s.typed, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	s.typed = ""
	person, program, err := openTerminal()
	if err != nil {
		s.t.Skipf("SKIPPED: no pseudo-terminal here: %v", err)
	}
	defer person.Close()
	cmd.Stdin = program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, program.Close())
	}
	program.Close()
	timer := time.AfterFunc(commandTime, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var shown strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := person.Read(buf)
		shown.Write(buf[:n])
		asked := strings.HasSuffix(shown.String(), ": ") || strings.HasSuffix(shown.String(), "[y/N] ")
		if asked && len(lines) > 0 {
			if _, err := io.WriteString(person, lines[0]); err != nil {
				return err
			}
			lines = lines[1:]
		}
		if err != nil { // EIO: the program has closed the terminal
			break
		}
	}
	s.shown = shown.String()
	return cmd.Wait()
}
