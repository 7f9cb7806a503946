package cli

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/pelletier/go-toml/v2"

	"example.com/bailiwick/internal/durable"
)

// Names of the installing user's configuration.
const (
	projectConfigName = "bailiwick.toml" // in the working folder or above
	userConfigName    = "config.toml"    // in XDG_CONFIG_HOME/bailiwick
	rootsFolder       = "roots"          // beside it, pinned roots as SHA256.json
	maxTrustConfig    = 1 << 20          // bytes of a configuration file
	maxTrustIndexes   = 100
	maxMirrors        = 8 // of one index
)

// trustConfig is the form of both configuration files: which indexes are trusted, by which root, and
// how much assurance is asked of which projects.
type trustConfig struct {
	// Default is the URL of the index to install from when there are several.
	Default string       `toml:"default,omitempty"`
	Indexes []trustIndex `toml:"index"`
	// Require are rules; a project must have the highest assurance that any of them asks of it.
	Require []requireRule `toml:"require,omitempty"`
}

// trustIndex is one trusted index.
type trustIndex struct {
	// URL is the base address: metadata is at URL/metadata/, files at URL/targets/.
	URL string `toml:"url"`
	// Root is the pin: "sha256:" and the SHA-256 of a root metadata file, any version.
	Root string `toml:"root"`
	// RootFile is that file, relative to the configuration file. Without it, it is fetched once, and
	// held against the pin.
	RootFile string `toml:"root-file,omitempty"`
	// Mirrors are base addresses of further copies of the same repository. None of them is trusted, nor
	// can one that is stale, slow or hostile keep the others from being used.
	Mirrors []string `toml:"mirrors,omitempty"`
}

// rootHex is the pin without its prefix.
func (i trustIndex) rootHex() string { return strings.TrimPrefix(i.Root, "sha256:") }

// errNoTrust is what every installing command says when nothing is pinned.
var errNoTrust = errors.New("no index is trusted yet: run bailiwick trust add URL --root sha256:HEX, with the hash that the index's operators publish")

// readTrustConfig reads and checks a configuration file. Errors name the file, and line and key where
// they can.
func readTrustConfig(path string) (*trustConfig, error) {
	data, err := readBounded(path, maxTrustConfig)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parseTrustConfig(path, data)
}

// parseTrustConfig checks what was read from path.
func parseTrustConfig(path string, data []byte) (*trustConfig, error) {
	var c trustConfig
	decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return nil, describeTOML(path, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	known := make(map[string]bool)
	for _, index := range c.Indexes {
		known[index.URL] = true
	}
	if err := c.checkRules(path, data, known); err != nil {
		return nil, err
	}
	return &c, nil
}

// describeTOML turns go-toml's errors into one line that says where and what.
func describeTOML(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		row, _ := first.Position()
		return fmt.Errorf("%s:%d: there is no setting %q; known are default; url, root, root-file, mirrors in each [[index]]; projects, assurance, index in each [[require]]",
			path, row, strings.Join(first.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, column := bad.Position()
		where := fmt.Sprintf("%s:%d:%d", path, row, column)
		if key := strings.Join(bad.Key(), "."); key != "" {
			return fmt.Errorf("%s: %s: %s", where, key, strings.TrimPrefix(bad.Error(), "toml: "))
		}
		return fmt.Errorf("%s: %s", where, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// check holds the values against their rules, and brings URLs into one form.
func (c *trustConfig) check() error {
	if len(c.Indexes) > maxTrustIndexes {
		return fmt.Errorf("more than %d indexes", maxTrustIndexes)
	}
	seen := make(map[string]bool)
	for i := range c.Indexes {
		index := &c.Indexes[i]
		normal, err := indexURL(index.URL)
		if err != nil {
			return fmt.Errorf("index %d: url: %w", i+1, err)
		}
		index.URL = normal
		if seen[normal] {
			return fmt.Errorf("index %d: url: %s is there twice; keep one", i+1, redactURL(normal))
		}
		seen[normal] = true
		if err := checkPin(index.Root); err != nil {
			return fmt.Errorf("index %d: root: %w", i+1, err)
		}
		if len(index.Mirrors) > maxMirrors {
			return fmt.Errorf("index %d: mirrors: %d of them; name at most %d", i+1, len(index.Mirrors), maxMirrors)
		}
		for j, mirror := range index.Mirrors {
			if index.Mirrors[j], err = indexURL(mirror); err != nil {
				return fmt.Errorf("index %d: mirrors: %w", i+1, err)
			}
		}
	}
	if c.Default == "" {
		return nil
	}
	normal, err := indexURL(c.Default)
	if err != nil {
		return fmt.Errorf("default: %w", err)
	}
	if !seen[normal] {
		return fmt.Errorf("default: %s is none of the indexes below it", redactURL(normal))
	}
	c.Default = normal
	return nil
}

// choose gives the index to install from. want is the value of BAILIWICK_INDEX.
func (c *trustConfig) choose(want string) (trustIndex, error) {
	if want == "" {
		want = c.Default
	}
	if want == "" && len(c.Indexes) == 1 {
		return c.Indexes[0], nil
	}
	if want == "" {
		return trustIndex{}, errors.New("several indexes are trusted and none is the default: name one with BAILIWICK_INDEX=URL, or set default = \"URL\"")
	}
	normal, err := indexURL(want)
	if err != nil {
		return trustIndex{}, fmt.Errorf("BAILIWICK_INDEX: %w", err)
	}
	for _, index := range c.Indexes {
		if index.URL == normal {
			return index, nil
		}
	}
	return trustIndex{}, fmt.Errorf("%s is not trusted: run bailiwick trust add %s --root sha256:HEX", redactURL(normal), redactURL(normal))
}

// indexURL checks the base address of an index and cuts slashes at its end.
func indexURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "", errors.New("it is missing; write the address of the index, such as https://pkgs.example.com")
	case err != nil || len(s) > 2000 || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return "", fmt.Errorf("%.100q is not the address of an index, such as https://pkgs.example.com", redactURL(s))
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%.100q must end before ? and #", redactURL(s))
	}
	u.Host = strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/"), nil
}

// redactURL is a URL for messages: without its user and password, also if it can not be read.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return s[strings.LastIndexByte(s, '@')+1:]
	}
	if u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}

// checkPin holds a root pin against its form.
func checkPin(pin string) error {
	digits, ok := strings.CutPrefix(pin, "sha256:")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != 32 || hex.EncodeToString(sum) != digits {
		return fmt.Errorf("%.80q is not a pin: write sha256: and 64 lower-case hex digits", pin)
	}
	return nil
}

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, path, most)
}

// readAtMost reads r, which is called name, to its end.
func readAtMost(r io.Reader, name string, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1)) //nolint:forbidigo // bounded
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return data, nil
}

// xdgFolder is the user's folder for bailiwick of one kind: XDG_CONFIG_HOME and ".config", and so on.
// Relative values are ignored, as that specification asks.
func xdgFolder(env *Env, variable, fallback string) (string, error) {
	if base := env.Getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "bailiwick"), nil
	}
	home := env.Getenv("HOME")
	if home == "" {
		home = env.Getenv("USERPROFILE")
	}
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("neither %s nor HOME names a folder; set one of them", variable)
	}
	return filepath.Join(home, fallback, "bailiwick"), nil
}

func trustConfigFolder(env *Env) (string, error) {
	return xdgFolder(env, "XDG_CONFIG_HOME", ".config")
}

func trustStateFolder(env *Env) (string, error) {
	return xdgFolder(env, "XDG_STATE_HOME", ".local/state")
}

func trustCacheFolder(env *Env) (string, error) {
	return xdgFolder(env, "XDG_CACHE_HOME", ".cache")
}

// findProjectConfig looks for bailiwick.toml in the working folder and above, and reads it. The path
// is "" if there is none.
func findProjectConfig() (path string, data []byte, err error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", nil, fmt.Errorf("finding the working folder: %w", err)
	}
	working := folder
	for {
		path := filepath.Join(folder, projectConfigName)
		info, err := os.Stat(path)
		switch {
		case err == nil && info.Mode().IsRegular():
			data, err := readProjectConfig(path, working)
			return path, data, err
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return "", nil, fmt.Errorf("looking for %s: %w", projectConfigName, err)
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", nil, nil
		}
		folder = parent
	}
}

// readProjectConfig reads a file that decides whom to trust. Whose it is, is asked of the open file: in
// a folder where others may write, the name can lead to another one at any moment.
func readProjectConfig(path, working string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close() // was only read
	if err := checkOwner(f, path, working); err != nil {
		return nil, err
	}
	data, err := readAtMost(f, path, maxTrustConfig)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return data, nil
}

// loadTrust gives the configuration in force and the file it is from: bailiwick.toml of the working
// folder or above, else the user's.
func loadTrust(env *Env) (*trustConfig, string, error) {
	path, data, err := findProjectConfig()
	if err != nil {
		return nil, "", err
	}
	if path != "" {
		c, err := parseTrustConfig(path, data)
		if err == nil && len(c.Indexes) == 0 {
			err = fmt.Errorf("%s: it names no index; add an [[index]] with url and root", path)
		}
		return c, path, err
	}
	path, c, err := loadUserTrust(env)
	if err == nil && len(c.Indexes) == 0 {
		err = errNoTrust
	}
	return c, path, err
}

// loadUserTrust reads the user's configuration; one that is not there is empty.
func loadUserTrust(env *Env) (string, *trustConfig, error) {
	folder, err := trustConfigFolder(env)
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(folder, userConfigName)
	c, err := readTrustConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, &trustConfig{}, nil
	}
	return path, c, err
}

// editUserTrust changes the user's configuration, one process at a time. roots are files to keep
// beside it, by the name that RootFile gives; they are there before the configuration names them.
func editUserTrust(env *Env, roots map[string][]byte, edit func(*trustConfig) error) (string, error) {
	folder, err := trustConfigFolder(env)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(folder, rootsFolder), 0o700); err != nil {
		return "", fmt.Errorf("making the configuration folder: %w", err)
	}
	lock := flock.New(filepath.Join(folder, userConfigName+".lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("locking the configuration: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // the lock ends with the process at the latest
	path, c, err := loadUserTrust(env)
	if err != nil {
		return "", err
	}
	if err := edit(c); err != nil {
		return "", err
	}
	dir, err := os.OpenRoot(folder)
	if err != nil {
		return "", fmt.Errorf("opening the configuration folder: %w", err)
	}
	defer dir.Close()
	for name, data := range roots {
		if err := durable.Replace(dir, filepath.ToSlash(name), data, 0o600); err != nil {
			return "", fmt.Errorf("keeping the pinned root: %w", err)
		}
	}
	text, err := toml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	header := "# Which package indexes are trusted, and by which root. Written by bailiwick trust.\n"
	if err := durable.Replace(dir, userConfigName, append([]byte(header), text...), 0o600); err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	return path, nil
}
