package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/bailiwick/internal/needs"
)

// The builds of this program, as the Makefile has them: with tokens it needs cgo, and then "netgo" keeps
// the resolver of the C library out.
var builds = []struct {
	name, tags, cgo string
}{
	{"key files", "", "0"},
	{"tokens", "pkcs11,netgo,osusergo", "1"},
}

// TestLinksNoNetworkCode: neither the packages that are compiled in nor the functions that are linked can
// open a connection. Package crypto/x509 imports net for the names in certificates, so net is in the
// list of packages; of its functions, only those that begin it are linked.
func TestLinksNoNetworkCode(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			if b.cgo == "1" {
				needsCompiler(t)
			}
			checkPackages(t, b.tags, b.cgo)
			for _, name := range linkedTalk(t, build(t, b.tags, b.cgo)) {
				t.Errorf("%s is linked", name)
			}
		})
	}
}

func needsCompiler(t *testing.T) {
	t.Helper()
	for _, compiler := range []string{os.Getenv("CC"), "gcc", "cc", "clang"} {
		if _, err := exec.LookPath(compiler); compiler != "" && err == nil {
			return
		}
	}
	needs.Without(t, "there is no C compiler, which tokens need; install the Debian packages gcc and libc6-dev")
}

func environ(cgo string) []string {
	return append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=")
}

func build(t *testing.T, tags, cgo string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bailiwick-sign")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", out, ".")
	cmd.Env = environ(cgo)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, said)
	}
	return out
}

// forbidden are packages that talk to others, and those of ours and of others that are made for it.
var forbidden = regexp.MustCompile(`^(net/(http|rpc|smtp|textproto|mail).*|crypto/tls|os/exec|log/syslog|plugin|golang\.org/x/(net|crypto/ssh).*|google\..*|github\.com/spf13/.*|` +
	`example\.com/bailiwick/(internal/(server|proxy|cli|ledger|files|index|publish|verify|keys/agent)|tuf/client)(/.*)?)$`)

// checkPackages looks at what is compiled in. Package net may be imported by crypto/x509 alone.
func checkPackages(t *testing.T, tags, cgo string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, "-json=ImportPath,Imports", ".")
	cmd.Env, cmd.Stderr = environ(cgo), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(out)); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if forbidden.MatchString(p.ImportPath) {
			t.Errorf("%s is compiled in", p.ImportPath)
		}
		if slices.Contains(p.Imports, "net") && p.ImportPath != "crypto/x509" {
			t.Errorf("%s imports net", p.ImportPath)
		}
	}
	if seen < 50 {
		t.Fatalf("go list found %d packages; this test would prove nothing", seen)
	}
}

// ofNet are the functions of package net that may be linked: its start, which reads one limit from /proc.
var ofNet = regexp.MustCompile(`^net\.(init(\..*)?|open|parseIP|countAnyByte|splitAtBytes|\(\*file\)\.(close|getLineFromData|readLine))$`)

// talks are the names of what a program calls to reach another: system calls, their wrappers, and what the
// C library has for it.
var talks = regexp.MustCompile(`(?i)(socket|connect|dial|listen|accept|recvfrom|recvmsg|sendto|sendmsg|getaddrinfo|getnameinfo|gethostby|res_n?(search|query|init)|resolver|^bind\b|\.bind$)`)

// linkedTalk lists what a binary has that could reach another machine.
func linkedTalk(t *testing.T, binary string) (found []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "tool", "nm", binary).Output()
	if err != nil {
		t.Fatalf("go tool nm: %v", err)
	}
	code, main := 0, false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		kind, name, ok := symbol(lines.Text())
		if !ok || kind != 't' && kind != 'u' { // functions, and what a library is to bring
			continue
		}
		code++
		main = main || name == "main.main"
		ours := strings.HasPrefix(name, "example.com/bailiwick/") // our words are not system calls
		switch {
		case strings.HasPrefix(name, "net.") && !ofNet.MatchString(name),
			strings.HasPrefix(name, "net/http."), strings.HasPrefix(name, "crypto/tls."),
			talks.MatchString(name) && !ours:
			found = append(found, name)
		}
	}
	if code < 1000 || !main {
		t.Fatalf("go tool nm found %d functions, main.main: %t; this test would prove nothing", code, main)
	}
	return found
}

// symbol reads a line of go tool nm: address, kind, name; the address may be missing.
func symbol(line string) (kind byte, name string, ok bool) {
	fields := strings.Fields(line)
	for i, f := range fields {
		if len(f) == 1 && i < 2 && i+1 < len(fields) {
			return f[0] | 0x20, strings.Join(fields[i+1:], " "), true
		}
	}
	return 0, "", false
}

// TestTheProofWouldNotice: the same look at a program that does reach out finds it.
func TestTheProofWouldNotice(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nimport \"net\"\n\nfunc main() {\n\t_, err := net.Dial(\"tcp\", \"192.0.2.1:80\")\n\tpanic(err)\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "talks")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	cmd.Env = environ("0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, said)
	}
	found := linkedTalk(t, binary)
	for _, name := range []string{"syscall.socket", "syscall.connect", "net.Dial", "net.(*netFD).connect"} {
		if !slices.Contains(found, name) {
			t.Errorf("%s was not noticed", name)
		}
	}
	for _, name := range []string{"net/http", "crypto/tls", "golang.org/x/crypto/ssh/agent", "example.com/bailiwick/internal/server", "example.com/bailiwick/tuf/client"} {
		if !forbidden.MatchString(name) {
			t.Errorf("the package %s would not be noticed", name)
		}
	}
}
