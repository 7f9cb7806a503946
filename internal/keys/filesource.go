package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/bailiwick/tuf/key"
)

// maxListed bounds [ListFiles].
const maxListed = 1000

// files are key files. For maintainers: those of this package, and plain PKCS #8 files of other tools.
// For the registry's own keys ([OpenOptions].Registry): encrypted ones alone.
type files struct{ options OpenOptions }

func (f *files) Scheme() string { return "file" }
func (f *files) Form() string   { return "file:PATH" }
func (f *files) Close() error   { return nil }

func (f *files) Find(_ context.Context, address string) ([]Info, error) {
	path, err := f.path(address)
	if err != nil {
		return nil, err
	}
	describe := describeFile
	if f.options.Registry {
		describe = describeRegistryFile
	}
	info, err := describe(path)
	if err != nil {
		return nil, err
	}
	return []Info{info}, nil
}

// Open reads a key file. Its mode is strict for maintainers' encrypted files, too: whoever can read one
// can guess passphrases for as long as they like.
func (f *files) Open(ctx context.Context, address string) ([]Found, error) {
	path, err := f.path(address)
	if err != nil {
		return nil, err
	}
	load := f.load
	if f.options.Registry {
		load = f.loadRegistry
	}
	k, err := load(ctx, path)
	if err != nil {
		return nil, err
	}
	info := Info{URI: "file:" + path, Source: "file", Name: k.Name()}
	info.describe(k.Public())
	return []Found{{info, k}}, nil
}

// load opens a maintainer's key.
func (f *files) load(ctx context.Context, path string) (*Key, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, missing(err, path)
	}
	defer clear(data)
	return f.decode(ctx, path, data)
}

// loadRegistry opens one of the registry's own keys.
func (f *files) loadRegistry(ctx context.Context, path string) (*Key, error) {
	k, err := LoadOffline(ctx, path, f.options.Passphrase)
	if err != nil {
		return nil, f.explain(err, path)
	}
	return k, nil
}

// explain adds what there is to know of a file that is no encrypted key file.
func (f *files) explain(err error, path string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; is the disk with your keys plugged in?", err)
	case errors.Is(err, ErrOnline):
		return fmt.Errorf("%w: a key that signs away from the server has to be; anybody who finds the file could use this one", err)
	case !errors.Is(err, ErrNotKey):
		return err
	}
	data, unread := readFile(path)
	if unread != nil {
		return err
	}
	defer clear(data)
	if isBare(data) {
		return fmt.Errorf("loading %s: %w: a key that signs away from the server has to be; anybody who finds the file could use this one", path, ErrOnline)
	}
	if better := foreign(nil, data); better != nil {
		return fmt.Errorf("loading %s: %w", path, better)
	}
	return err
}

// describeRegistryFile is Info for one of the registry's own key files.
func describeRegistryFile(path string) (Info, error) {
	var f files
	shown, err := Show(path)
	if err != nil {
		return Info{}, f.explain(err, path)
	}
	info := Info{URI: "file:" + path, Source: "file", Name: shown.Name}
	info.describe(shown.Public)
	if !shown.Offline {
		info.Problem = fmt.Errorf("%s: %w: a key that signs away from the server has to be", path, ErrOnline)
	}
	return info, nil
}

func (f *files) decode(ctx context.Context, path string, data []byte) (*Key, error) {
	if isBare(data) {
		k, err := decodeBare(bareName(path), data)
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", path, err)
		}
		return k, nil
	}
	h, block, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, foreign(err, data))
	}
	if IsReservedName(h.name) {
		return nil, fmt.Errorf("loading the key %s from %s: %w", h.name, path, ErrReserved)
	}
	if !bytes.HasPrefix(block, []byte(privateBegin)) {
		return unlock(ctx, path, h, block, f.options.Passphrase)
	}
	k, err := decodePlain(data)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	return k, nil
}

// path is the file that an address is about: a path as it is, or, after two slashes, as in RFC 8089.
func (f *files) path(address string) (string, error) {
	path := address
	if rest, ok := strings.CutPrefix(address, "//"); ok {
		u, err := url.Parse("file://" + rest)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" {
			return "", fmt.Errorf("%w: after file:// comes an absolute path, as in file:///home/alice/alice.key", ErrURI)
		}
		path = filepath.FromSlash(u.Path)
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok { // shells do not expand it behind a colon
		if home := f.options.Getenv("HOME"); home != "" {
			path = filepath.Join(home, rest)
		}
	}
	if path == "" || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%w: file: is followed by the path of a key file", ErrURI)
	}
	return path, nil
}

// missing adds the next step to the error of a file that is not there.
func missing(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; bailiwick keys list shows the keys that are there, bailiwick keys new --out %s makes one", err, path)
	}
	return err
}

// describeFile is Info for a key file. A file that could be opened if only its mode or its name were
// right has a Problem; one that is no key file is an error.
func describeFile(path string) (Info, error) {
	data, err := readFile(path)
	if err != nil {
		return Info{}, missing(err, path)
	}
	defer clear(data)
	info := Info{URI: "file:" + path, Source: "file"}
	var public *key.Public
	if isBare(data) {
		k, err := decodeBare(bareName(path), data)
		if err != nil {
			return Info{}, fmt.Errorf("reading %s: %w", path, err)
		}
		info.Name, public = k.Name(), k.Public()
	} else {
		h, _, err := split(data)
		if err != nil {
			return Info{}, fmt.Errorf("reading %s: %w", path, foreign(err, data))
		}
		if public, err = h.key(); err != nil {
			return Info{}, fmt.Errorf("reading %s: %w", path, err)
		}
		info.Name = h.name
	}
	info.describe(public)
	secret, err := readPrivate(path)
	clear(secret)
	switch {
	case err != nil:
		info.Problem = err
	case IsReservedName(info.Name):
		info.Problem = fmt.Errorf("%s is %w", info.Name, ErrReserved)
	}
	return info, nil
}

// ListFiles describes the key files in a folder: those whose name ends in ".key", in order. A folder
// that is not there holds none. One that can not be read as a key file is listed with that Problem.
func ListFiles(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for key files: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) != ".key" })
	if len(entries) > maxListed {
		return nil, fmt.Errorf("looking for key files: %s holds more than %d", dir, maxListed)
	}
	var all []Info
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := describeFile(path)
		if err != nil {
			info = Info{URI: "file:" + path, Source: "file", Problem: err}
		}
		all = append(all, info)
	}
	return all, nil
}

// bareName names a key whose file holds no name, after the file.
func bareName(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if !validName(name) || IsReservedName(name) {
		return "key"
	}
	return name
}

// foreign explains files of other tools that people take for key files.
func foreign(err error, data []byte) error {
	text := string(bytes.TrimSpace(data[:min(len(data), 4096)]))
	for _, f := range []struct{ begin, advice string }{
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "it is a private key of OpenSSH: add it to your agent with ssh-add, and name it as ssh-agent: says; ssh-add -l shows its fingerprint"},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----", "it is an encrypted PKCS #8 key: add it to your agent with ssh-add, or make a key with bailiwick keys new"},
		{"-----BEGIN RSA PRIVATE KEY-----", "it is a key in an older form: openssl pkcs8 -topk8 -nocrypt brings it into the one that is read here"},
		{"-----BEGIN EC PRIVATE KEY-----", "it is a key in an older form: openssl pkcs8 -topk8 -nocrypt brings it into the one that is read here"},
		{"-----BEGIN PUBLIC KEY-----", "it is a public key: signing needs the private one"},
		{"-----BEGIN CERTIFICATE-----", "it is a certificate: signing needs the private key"},
		{"ssh-", "it is a public key of OpenSSH: signing needs the private one, by way of ssh-agent:"},
		{"ecdsa-sha2-", "it is a public key of OpenSSH: signing needs the private one, by way of ssh-agent:"},
		{"sk-", "it is a public key of OpenSSH: signing needs the private one, by way of ssh-agent:"},
		{"AGE-SECRET-KEY-", "it is a key for decrypting: it can not sign"},
		{"age-encryption.org/", "it is a file encrypted with age, but not by bailiwick keys new"},
		{ageBegin, "it is a file encrypted with age, but not by bailiwick keys new"},
	} {
		if strings.HasPrefix(text, f.begin) {
			return fmt.Errorf("%w: %s", ErrNotKey, f.advice)
		}
	}
	return err
}
