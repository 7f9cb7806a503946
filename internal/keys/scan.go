package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/bailiwick/tuf/key"
)

// maxScanned bounds [ScanForOffline]. A data folder holds about ten files beside the package files,
// which are skipped.
const maxScanned = 10_000

// Scan says where [ScanForOffline] does not look, and which keys it knows.
type Scan struct {
	// Skip names folders directly inside the scanned one that are not entered: those whose content
	// comes from uploads, so that nobody can stop a server by uploading a file that looks like a key.
	Skip []string
	// Offline are the ids of the keys that must not be found, in any common form: those in root and
	// in the offline delegations.
	Offline []key.ID
}

// ScanForOffline looks for offline private keys in a folder and below, and returns their paths in
// order: every encrypted key file, every key file that names an offline key, and every unencrypted
// private key (PEM) whose public key is one of s.Offline. A link counts as what it leads to, unless
// it leads to a folder. Files above 64 KiB are no keys.
func ScanForOffline(dir string, s Scan) ([]string, error) {
	var found []string
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if filepath.Dir(path) == filepath.Clean(dir) && slices.Contains(s.Skip, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if seen++; seen > maxScanned {
			return fmt.Errorf("more than %d files: move away what does not belong here", maxScanned)
		}
		data, err := readCandidate(path)
		if err != nil {
			return err
		}
		defer clear(data)
		if IsOfflineKey(data) || s.holdsKnown(data) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for offline keys in %s: %w", dir, err)
	}
	return found, nil
}

// readCandidate returns the content of a file that could be a key, or nil.
func readCandidate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) { // a link that leads nowhere, or a file removed just now
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, nil
	}
	data, err := readFile(path)
	if errors.Is(err, ErrNotKey) || errors.Is(err, fs.ErrNotExist) { // it grew, or went, meanwhile
		return nil, nil
	}
	return data, err
}

// IsOfflineKey reports whether data is a key file of this package that holds an offline key:
// encrypted under any name, or unencrypted under the name of an offline key. It is more generous
// than loading: other line ends, blanks in front, or a damaged rest do not hide a key.
func IsOfflineKey(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte(strings.TrimSpace(magic))) {
		return false
	}
	if bytes.Contains(data, []byte(ageBegin)) {
		return true
	}
	for line := range bytes.Lines(data) {
		if name, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("name:")); ok {
			return IsOfflineName(string(bytes.TrimSpace(name)))
		}
	}
	return false
}

// holdsKnown reports whether data holds the unencrypted private half of a key that is known to be
// offline, in one of the forms that other tools write.
func (s Scan) holdsKnown(data []byte) bool {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		private := parsePrivate(block)
		clear(block.Bytes)
		if private == nil {
			continue
		}
		public, err := key.FromCrypto(private.Public())
		if err == nil && slices.Contains(s.Offline, public.ID()) {
			return true
		}
	}
}

// parsePrivate returns nil for anything but a private key.
func parsePrivate(block *pem.Block) crypto.Signer {
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	signer, _ := parsed.(crypto.Signer)
	return signer
}
