package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestStrictScripts tells the stories of testdata/strict: an index whose server holds the timestamp key alone.
func TestStrictScripts(t *testing.T) {
	runStories(t, filepath.Join("testdata", "strict", "*.txt"))
}

// startSigner runs bailiwick signer for the server of the story, and returns when it is connected.
func (s *story) startSigner(ts *testscript.TestScript, args []string) error {
	b := &s.signer
	if b.cmd != nil {
		return errors.New("the signer of this story runs already")
	}
	url := ts.Getenv("URL")
	b.cmd = exec.Command("bailiwick", append([]string{"signer", "--index", url, "--keys"}, args...)...)
	b.cmd.Dir, b.cmd.Env = ts.MkAbs("."), environ(ts)
	if err := b.start(ts.MkAbs("signer.log"), s.tb); err != nil {
		b.cmd = nil
		return err
	}
	if strings.TrimSpace(b.said) != "connected to "+url {
		return errors.Join(fmt.Errorf("the signer printed %q", b.said), b.end(os.Kill))
	}
	return nil
}

func (s *story) endSigner(*testscript.TestScript, []string) error { return s.signer.end(syscall.SIGTERM) }

func (s *story) crashSigner(*testscript.TestScript, []string) error {
	_ = s.signer.end(os.Kill) // says that it was killed
	return nil
}
