package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
)

// settings is DIR/config.toml, which init writes when it was given something that differs from the
// standard. A missing file means the standard.
type settings struct {
	// Lifetimes says how long signatures of a kind of role are good: "365d", "36h".
	Lifetimes map[string]string `toml:"lifetimes,omitempty"`
	// Custody says of registry and snapshot whether the server holds the key ("standard") or an isolated signer ("strict").
	Custody map[string]string `toml:"custody,omitempty"`
}

// maxSettings bounds the file, in bytes.
const maxSettings = 64 << 10

// lifetimeFields maps the words of --lifetime and of the file to the durations they set.
func lifetimeFields(l *policy.Lifetimes) map[string][]*time.Duration {
	return map[string][]*time.Duration{
		"root":           {&l.Root},
		"targets":        {&l.Targets},
		"claimed":        {&l.Claimed, &l.NothingClaimed},
		"claimed-bins":   {&l.ClaimedBin},
		"unclaimed":      {&l.Unclaimed},
		"unclaimed-bins": {&l.UnclaimedBin},
		"projects":       {&l.UnclaimedProject},
		"snapshot":       {&l.Snapshot},
		"timestamp":      {&l.Timestamp},
	}
}

// lifetimes gives the durations in force.
func (s *settings) lifetimes() (policy.Lifetimes, error) {
	l := policy.DefaultLifetimes()
	fields := lifetimeFields(&l)
	for name, text := range s.Lifetimes {
		targets, ok := fields[name]
		if !ok {
			return l, fmt.Errorf("lifetime of %q: no such role; the roles are %s", name, strings.Join(sortedNames(fields), ", "))
		}
		d, err := parseLifetime(text)
		if err != nil {
			return l, fmt.Errorf("lifetime of %s: %w", name, err)
		}
		if least := leastLifetime(name); d < least {
			return l, fmt.Errorf("lifetime of %s: %s is too short to be renewed in time; the least is %s", name, text, policy.Span(least))
		}
		for _, target := range targets {
			*target = d
		}
	}
	if err := l.Check(); err != nil {
		return l, fmt.Errorf("lifetimes: %w", err)
	}
	return l, nil
}

// leastLifetime is the shortest life that can be kept up: by the server, which renews by itself what its own keys sign, or by people
// who have to be found.
func leastLifetime(name string) time.Duration {
	switch name {
	case "timestamp", "snapshot", "unclaimed-bins", "projects":
		return publish.LeastLifetime
	}
	return 24 * time.Hour
}

func sortedNames[T any](m map[string]T) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseLifetime reads a whole number of days ("90d"), or a duration as Go writes it ("36h").
func parseLifetime(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 || n > 36500 {
			return 0, fmt.Errorf("%q is no number of days between 1d and 36500d", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > 36500*24*time.Hour {
		return 0, fmt.Errorf("%q is no time such as 365d or 36h", s)
	}
	return d, nil
}

// readSettings reads the file of a data folder, strictly: a word that it does not know is a mistake,
// not something to pass over.
func readSettings(data string) (*settings, error) {
	path := filepath.Join(data, configFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &settings{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()                          // was only read
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1)) //nolint:forbidigo // bounded, and the length is checked below
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(text) > maxSettings {
		return nil, fmt.Errorf("the configuration %s is larger than %d bytes", path, maxSettings)
	}
	var s settings
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, tomlError(err))
	}
	if _, err := s.lifetimes(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if _, err := s.custody(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &s, nil
}

// tomlError says in one line where the mistake is.
func tomlError(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		line, _ := strict.Errors[0].Position()
		return fmt.Errorf("line %d: there is no setting %q", line, strings.Join(strict.Errors[0].Key(), "."))
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, column := decode.Position()
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}

// encode gives the file's content.
func (s *settings) encode() ([]byte, error) {
	text, err := toml.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return append([]byte("# Settings of a bailiwick data folder. Lifetimes: how long signatures are good. Custody: standard (the server\n"+
		"# holds the key) or strict (an isolated signer does); the word alone moves no key, bailiwick rotate does.\n"), text...), nil
}
