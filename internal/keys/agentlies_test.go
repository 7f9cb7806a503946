package keys_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"example.com/bailiwick/tuf/key"
)

// frame is a message of the agent protocol.
func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// readFrame takes a question off a connection.
func readFrame(c io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, payload)
	return payload, err
}

// identities is the answer that lists keys, of which it claims to have n.
func identities(n uint32, list ...*agent.Key) []byte {
	payload := binary.BigEndian.AppendUint32([]byte{12}, n)
	for _, k := range list {
		payload = append(payload, ssh.Marshal(struct {
			Blob    []byte
			Comment string
		}{k.Blob, k.Comment})...)
	}
	return frame(payload)
}

// TestAgentLies: whatever a socket answers, it ends in an error in bounded memory.
func TestAgentLies(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	k := func(comment string) *agent.Key { return &agent.Key{Blob: good.Marshal(), Comment: comment} }
	tests := map[string]struct {
		answer []byte
		says   string
	}{
		"hangs up":            {nil, "hung up"},
		"half a size":         {[]byte{0, 0}, "hung up"},
		"huge size":           {[]byte{0xff, 0xff, 0xff, 0xff}, "refused"},
		"more than is read":   {frame(make([]byte, 2<<20)), "more than"},
		"empty":               {frame(nil), "refused"},
		"another answer":      {frame([]byte{6}), "refused"},
		"failure":             {frame([]byte{5}), "refused"},
		"garbage":             {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "ssh-agent"},
		"fewer than claimed":  {identities(5, k("a")), "refused"},
		"four billion":        {identities(0xffffffff), "refused"},
		"300 keys":            {identities(300, slices.Repeat([]*agent.Key{k("a")}, 300)...), "at most 256"},
		"a very long comment": {identities(1, k(strings.Repeat("x", 5000))), "comment of 5000 bytes"},
		"a key that is none":  {identities(1, &agent.Key{Blob: []byte{0}}), "refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			socket := answering(t, func(c net.Conn) {
				if _, err := readFrame(c); err == nil {
					_, _ = c.Write(test.answer)
				}
			})
			_, err := agentOpener(t, socket).Open(t.Context(), "ssh-agent:")
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

// forging is an agent whose signatures are changed.
type forging struct {
	agent.Agent
	forge func(*ssh.Signature) *ssh.Signature
}

func (f forging) SignWithFlags(k ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	sig, err := f.Agent.Sign(k, data)
	if err != nil {
		return nil, err
	}
	return f.forge(sig), nil
}

func (f forging) Sign(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return f.SignWithFlags(k, data, 0)
}

func (f forging) Extension(string, []byte) ([]byte, error) { return nil, agent.ErrExtensionUnsupported }

func (f forging) Signers() ([]ssh.Signer, error) { return f.Agent.Signers() }

func TestAgentForges(t *testing.T) {
	private := kinds(t)
	pair := func(r, s *big.Int) []byte { return ssh.Marshal(struct{ R, S *big.Int }{r, s}) }
	tests := map[string]struct {
		kind  string
		forge func(*ssh.Signature) *ssh.Signature
	}{
		"another message": {"ed25519", func(s *ssh.Signature) *ssh.Signature { s.Blob[3] ^= 1; return s }},
		"short":           {"ed25519", func(s *ssh.Signature) *ssh.Signature { s.Blob = s.Blob[:63]; return s }},
		"empty":           {"ed25519", func(s *ssh.Signature) *ssh.Signature { s.Blob = nil; return s }},
		"another kind":    {"ed25519", func(s *ssh.Signature) *ssh.Signature { s.Format = "\x1bsk"; return s }},
		"more behind it":  {"ed25519", func(s *ssh.Signature) *ssh.Signature { s.Rest = []byte{1}; return s }},
		"not a pair":      {"p256", func(s *ssh.Signature) *ssh.Signature { s.Blob = []byte("pair"); return s }},
		"zeros":           {"p256", func(s *ssh.Signature) *ssh.Signature { s.Blob = pair(new(big.Int), new(big.Int)); return s }},
		"negative":        {"p256", func(s *ssh.Signature) *ssh.Signature { s.Blob = pair(big.NewInt(-1), big.NewInt(-1)); return s }},
		"huge": {"p384", func(s *ssh.Signature) *ssh.Signature {
			s.Blob = pair(new(big.Int).Lsh(big.NewInt(1), 5000), big.NewInt(1))
			return s
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := agentOpener(t, serving(t, forging{keyring(t, private), test.forge}))
			s, err := o.OpenOne(t.Context(), "ssh-agent:"+test.kind)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := s.Sign(t.Context(), []byte("message"))
			if sig != nil {
				t.Errorf("returned %x", sig)
			}
			wantErr(t, name, err, key.ErrBadSignature)
		})
	}
}
