package client

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"example.com/bailiwick/tuf"
)

// maxName bounds the length of an encoded role name in a file name; file
// systems allow 255 bytes.
const maxName = 200

// storedName returns the name under which a role is kept: injective, one path
// segment, the same on file systems that fold case. Everything but lower-case
// letters, digits, "-", "_" and inner dots is percent-encoded. A name that gets
// too long is replaced by its hash, behind a "%-" that no encoding makes.
func storedName(role tuf.RoleName) string {
	const hexDigits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(role) {
		c := role[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	if b.Len() > maxName {
		sum := sha256.Sum256([]byte(role))
		return "%-" + hex.EncodeToString(sum[:]) + ".json"
	}
	return b.String() + ".json"
}

// rootName returns the name under which one root of the chain is kept.
func rootName(version int64) string {
	return "roots/" + strconv.FormatInt(version, 10) + ".root.json"
}

// isDurable reports whether a name must survive: everything that later updates
// are held against. Delegated roles need not: the snapshot says what they are.
func isDurable(name string) bool {
	switch name {
	case "root.json", "timestamp.json", "snapshot.json", "targets.json":
		return true
	}
	return strings.HasPrefix(name, "roots/")
}

// isStoredName reports whether a name is one that this package makes: at most
// one folder, which is "roots", and no bytes that mean something to a file
// system. Stores refuse others.
func isStoredName(name string) bool {
	rest := strings.TrimPrefix(name, "roots/")
	if !strings.HasSuffix(rest, ".json") || rest[0] == '.' || len(rest) > maxName+len(".json") {
		return false
	}
	for i := range len(rest) {
		c := rest[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '%') {
			return false
		}
	}
	return true
}
