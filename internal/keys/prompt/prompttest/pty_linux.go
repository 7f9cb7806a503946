package prompttest

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

// Have tells whether this machine has pseudo-terminals.
func Have() bool {
	person, program, err := openTerminal()
	return err == nil && errors.Join(person.Close(), program.Close()) == nil
}

// typistTime bounds the program at a terminal: it may wait for an answer that nobody has.
const typistTime = time.Minute

// Typist is the person at a terminal, as the main function of a program: typist FILE PROGRAM ARGS… runs
// the program there, types the lines of FILE, writes what the terminal showed to the file terminal, and
// returns the program's exit code.
func Typist() int {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	shown, err := AtTerminal(cmd, string(text))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = nil
	}
	if err = errors.Join(err, os.WriteFile("terminal", []byte(shown), 0o600)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// AtTerminal runs cmd at a terminal. A person types the next line whenever the program has asked for
// one: it has, once the terminal shows a further line that ends in ": " or "[y/N] ".
func AtTerminal(cmd *exec.Cmd, text string) (shown string, err error) {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	person, program, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer person.Close()
	cmd.Stdin = program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return "", errors.Join(err, program.Close())
	}
	program.Close()
	timer := time.AfterFunc(typistTime, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var b strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := person.Read(buf)
		b.Write(buf[:n])
		asked := strings.HasSuffix(b.String(), ": ") || strings.HasSuffix(b.String(), "[y/N] ")
		if asked && len(lines) > 0 {
			if _, err := io.WriteString(person, lines[0]); err != nil {
				return b.String(), errors.Join(err, cmd.Process.Kill(), cmd.Wait())
			}
			lines = lines[1:]
		}
		if err != nil { // EIO: the program has closed the terminal
			break
		}
	}
	return b.String(), cmd.Wait()
}
