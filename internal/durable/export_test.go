package durable

import (
	"io/fs"
	"os"
)

// Step names the system call at which a test lets [store] fail.
type Step string

// The steps of store.
const (
	StepCreate  Step = "create"
	StepWrite   Step = "write"
	StepSync    Step = "sync"
	StepClose   Step = "close"
	StepLink    Step = "link"
	StepRename  Step = "rename"
	StepRemove  Step = "remove"
	StepSyncDir Step = "sync folder"
)

// Fault decides what happens at a step: nil goes on. After calls fail, the step takes its effect
// first and then reports the error, as a lost answer would.
type Fault struct {
	At    Step
	Err   error
	After bool
	Seen  []Step // every step that was reached, in order
}

func (f *Fault) at(s Step, do func() error) error {
	f.Seen = append(f.Seen, s)
	if s != f.At || f.Err == nil {
		return do()
	}
	if f.After {
		_ = do()
	}
	return f.Err
}

type faulty struct {
	rooted
	fault *Fault
}

func (d faulty) create(name string, perm fs.FileMode) (file, error) {
	var out file
	err := d.fault.at(StepCreate, func() (err error) { out, err = d.rooted.create(name, perm); return err })
	if err != nil {
		return nil, err
	}
	return faultyFile{out, d.fault}, nil
}

func (d faulty) rename(from, to string) error {
	return d.fault.at(StepRename, func() error { return d.rooted.rename(from, to) })
}

func (d faulty) link(from, to string) error {
	return d.fault.at(StepLink, func() error { return d.rooted.link(from, to) })
}

func (d faulty) remove(name string) error {
	return d.fault.at(StepRemove, func() error { return d.rooted.remove(name) })
}

func (d faulty) syncDir(name string) error {
	return d.fault.at(StepSyncDir, func() error { return d.rooted.syncDir(name) })
}

type faultyFile struct {
	file
	fault *Fault
}

func (f faultyFile) Write(p []byte) (n int, err error) {
	err = f.fault.at(StepWrite, func() error { n, err = f.file.Write(p[:len(p)/2]); return err })
	if err != nil {
		return n, err // torn: half of it is written
	}
	m, err := f.file.Write(p[len(p)/2:])
	return n + m, err
}

func (f faultyFile) Sync() error { return f.fault.at(StepSync, f.file.Sync) }

func (f faultyFile) Close() error {
	return f.fault.at(StepClose, f.file.Close)
}

// CreateFaulty and ReplaceFaulty are Create and Replace with a fault.
func CreateFaulty(dir *os.Root, name string, data []byte, f *Fault) error {
	return store(faulty{rooted{dir}, f}, name, data, 0o600, nameNew)
}

func ReplaceFaulty(dir *os.Root, name string, data []byte, f *Fault) error {
	return store(faulty{rooted{dir}, f}, name, data, 0o600, folder.rename)
}
