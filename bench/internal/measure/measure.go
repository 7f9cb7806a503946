// Package measure reports what one piece of work cost the process that did it.
package measure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is the cost of a piece of work, divided by the number of its operations.
// PeakKiB is that of the whole process until the work was done.
type Result struct {
	CPU     float64 `json:"cpu_ns"`  // user and system time of all threads, nanoseconds
	Wall    float64 `json:"wall_ns"` // nanoseconds
	PeakKiB int64   `json:"peak_kib"`
}

// Report runs the work, which consists of so many operations, and prints its Result
// as a line of JSON on standard output.
func Report(operations int, work func() error) error {
	before, err := cpu()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := work(); err != nil {
		return err
	}
	wall := time.Since(start)
	after, err := cpu()
	if err != nil {
		return err
	}
	peak, err := peakKiB()
	if err != nil {
		return err
	}
	n := float64(operations)
	return json.NewEncoder(os.Stdout).Encode(Result{CPU: float64(after-before) / n, Wall: float64(wall) / n, PeakKiB: peak})
}

func cpu() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// peakKiB reads the high-water mark of this program. The one of rusage would begin
// with the memory of the process that started it.
func peakKiB() (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM: measuring needs Linux")
}
