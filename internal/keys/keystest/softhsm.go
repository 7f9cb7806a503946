package keystest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/bailiwick/internal/needs"
)

// The PINs of every token that [SoftHSM] makes.
const (
	PIN        = "428731"
	officerPIN = "87654321"
)

// SoftHSM is a SoftHSM2 with tokens of its own, that live as long as the test.
type SoftHSM struct {
	tb     testing.TB
	Module string // the path of the library
}

// NewSoftHSM needs the Debian packages softhsm2 and opensc: without them the test is skipped, but fails in
// CI. It sets an environment variable that the library reads when it is loaded, so such tests are not
// parallel.
func NewSoftHSM(tb testing.TB) *SoftHSM {
	tb.Helper()
	d := &SoftHSM{tb: tb, Module: softHSM(tb)}
	dir := tb.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", dir), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SOFTHSM2_CONF", conf)
	return d
}

// softHSM finds the library where Debian, Fedora and Homebrew put it.
func softHSM(tb testing.TB) string {
	tb.Helper()
	needs.Programs(tb, "softhsm2 and opensc", "softhsm2-util", "pkcs11-tool")
	for _, pattern := range []string{"/usr/lib/softhsm", "/usr/lib/*/softhsm", "/usr/lib64/pkcs11", "/opt/homebrew/lib/softhsm", "/usr/local/lib/softhsm"} {
		if found, _ := filepath.Glob(filepath.Join(pattern, "libsofthsm2.so")); len(found) > 0 {
			return found[0]
		}
	}
	needs.Without(tb, "libsofthsm2.so is in none of its places; install the Debian package softhsm2")
	return ""
}

// AddToken makes a token.
func (d *SoftHSM) AddToken(label string) {
	d.tb.Helper()
	d.runs("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", officerPIN)
}

// Tool runs pkcs11-tool on a token.
func (d *SoftHSM) Tool(label string, args ...string) {
	d.tb.Helper()
	d.runs("pkcs11-tool", append([]string{"--module", d.Module, "--token-label", label, "--login", "--pin", PIN}, args...)...)
}

// AddKey makes a key pair in a token: a kind as pkcs11-tool names it, the label of the pair, its id in hex, and
// further flags.
func (d *SoftHSM) AddKey(label, kind, object, id string, more ...string) {
	d.tb.Helper()
	d.Tool(label, append([]string{"--keypairgen", "--key-type", kind, "--label", object, "--id", id}, more...)...)
}

// URI completes the path of a URI.
func (d *SoftHSM) URI(path string) string { return "pkcs11:" + path + "?module-path=" + d.Module }

func (d *SoftHSM) runs(program string, args ...string) {
	d.tb.Helper()
	if out, err := exec.CommandContext(d.tb.Context(), program, args...).CombinedOutput(); err != nil {
		d.tb.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
}
