package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readmeBlocks returns the commands of a section of the README, one script for each block.
func readmeBlocks(t *testing.T, section string) []string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(readme), "## "+section+"\n")
	walk, _, ok2 := strings.Cut(walk, "\n## ")
	if !ok || !ok2 {
		t.Fatalf("the README has no section %q", section)
	}
	var blocks []string
	var block strings.Builder
	inBlock := false
	for line := range strings.Lines(walk) {
		switch {
		case strings.HasPrefix(line, "```"):
			if inBlock {
				blocks = append(blocks, block.String())
				block.Reset()
			}
			inBlock = strings.TrimSpace(line) == "```sh"
		case inBlock:
			line, _, _ = strings.Cut(line, "#")
			line = strings.ReplaceAll(strings.TrimSpace(line), "YOUR-PROJECT", "tiny-lib")
			if asks(line) {
				line += " --yes"
			}
			block.WriteString(line + "\n")
		}
	}
	return blocks
}

// asks reports whether a command asks at a terminal before it goes on.
func asks(line string) bool {
	switch words := strings.Fields(line); {
	case len(words) < 2 || words[0] == "bailiwick" && words[1] == "root":
		return false
	case words[0] == "bailiwick" && words[1] == "init":
		return strings.Contains(line, " --accepted ")
	}
	return strings.Contains(line, " --key ")
}

// TestReadmeWalk runs the commands of the README as they stand there, with a yes to what a terminal would ask.
func TestReadmeWalk(t *testing.T) {
	walk := strings.Join(readmeBlocks(t, "Sign your own releases"), "")
	if n := strings.Count(walk, "\nbailiwick ") + 1; n < 8 {
		t.Fatalf("found %d commands:\n%s", n, walk)
	}
	story := `needs ssh-agent ssh-add ssh-keygen python3
serve --data data --offline-keys offline --passphrase-file pass
exec sh -c 'grep -o ''sha256:[0-9a-f]*'' server.log | head -1 | tr -d ''\n'' > pin'
exec sh -c 'grep -o ''bwk_[-_A-Za-z0-9]*'' server.log | tr -d ''\n'' > token'
exec sh -c 'bailiwick trust add $URL --root $(cat pin)'
exec sh -c 'ssh-keygen -q -t ed25519 -N "" -C me@laptop -f me; ssh-agent -a $WORK/agent.sock > agent; SSH_AUTH_SOCK=$WORK/agent.sock ssh-add -q me; python3 -m venv venv'
env SSH_AUTH_SOCK=$WORK/agent.sock
env VIRTUAL_ENV=$WORK/venv
env BAILIWICK_PASSPHRASE_FILE=$WORK/pass
env PIP_DISABLE_PIP_VERSION_CHECK=1
build wheel dist tiny-lib 1.0
build sdist dist tiny-lib 1.0
exec sh -c 'BAILIWICK_TOKEN=$(cat token) sh -e walk.sh'
stdout '^published. tiny-lib 1.0 is installable'
stdout '^signed. tiny-lib has its new keys'
stdout '^done. tiny-lib is signed by 2 of 2 keys'
stdout '^Successfully installed tiny-lib-1.0'
stdout 'project.tiny-lib v3 +2 of 2 +maintainers'
stderr '1 file verified: 1 recently claimed'
exec sh -c 'sed -n ''s/.*SSH_AGENT_PID=\([0-9]*\);.*/\1/p'' agent | xargs kill'
-- pass --
correct horse battery staple
-- walk.sh --
` + walk
	path := filepath.Join(t.TempDir(), "walk.txt")
	if err := os.WriteFile(path, []byte(story), 0o600); err != nil {
		t.Fatal(err)
	}
	runStories(t, path)
}

// TestReadmeOperatorWalk does the same for those who run an index.
func TestReadmeOperatorWalk(t *testing.T) {
	blocks := readmeBlocks(t, "Be the operator")
	if len(blocks) != 3 {
		t.Fatalf("found %d blocks of commands: %q", len(blocks), blocks)
	}
	story := `env BAILIWICK_PASSPHRASE_FILE=$WORK/pass
exec sh -e root.sh
cp stdout log
stdout '^bailiwick: created a repository in bailiwick-data'
stdout '2 of 3 will have to sign'
exec sh -c 'sed -n ''s/.*upload token *\(bwk_[-_A-Za-z0-9]*\).*/\1/p'' log | tr -d ''\n'' > token'
serve --data bailiwick-data
exec sh -c 'bailiwick trust add $URL --root $(sed -n ''s/.*root *\(sha256:[0-9a-f]*\)$/\1/p'' log | tail -1)'
exec bailiwick keys new --out maintainer.key
build wheel dist tiny-lib 1.0
exec sh -c 'BAILIWICK_TOKEN=$(cat token) bailiwick publish dist/* --key maintainer.key --yes'

exec sh -e sitting.sh
stdout 'promote to claimed +1 project'
stdout 'published: request'
stdout 'claimed-[0-9a-f]+ v2'
stdout '^claimed since'
stdout '1 claimed, 0 recently claimed'

exec sh -e drill.sh
-- pass --
correct horse battery staple
-- root.sh --
` + blocks[0] + `-- sitting.sh --
` + blocks[1] + `-- drill.sh --
` + blocks[2]
	path := filepath.Join(t.TempDir(), "operator.txt")
	if err := os.WriteFile(path, []byte(story), 0o600); err != nil {
		t.Fatal(err)
	}
	runStories(t, path)
}
