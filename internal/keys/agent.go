package keys

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"example.com/bailiwick/tuf/key"
)

// Bounds of what an agent may do. It is a program of the same user, but a forwarded socket leads to
// another machine.
const (
	maxAgentKeys    = 256
	maxAgentComment = 4096    // bytes
	maxAgentAnswer  = 1 << 20 // bytes of all answers to one question
	agentListTime   = 10 * time.Second
	agentSignTime   = 2 * time.Minute // its owner may have to touch or confirm something

	// openSSHMessage is what OpenSSH's agent takes in one message, in bytes; beyond it, it hangs up.
	openSSHMessage = 256 << 10
)

const agentVariable = "SSH_AUTH_SOCK"

// agents is the running ssh-agent. Its Ed25519 and ECDSA keys sign the bytes that they are given, so
// what they make are ordinary TUF signatures. Every question has a connection of its own: the socket
// may come and go between signatures.
type agents struct {
	options  OpenOptions
	listTime time.Duration
}

func newAgents(o OpenOptions) *agents { return &agents{o, agentListTime} }

func (a *agents) close() error { return nil }

func (a *agents) find(ctx context.Context, address string) ([]Info, error) {
	all, err := a.open(ctx, address)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(all))
	for i, k := range all {
		infos[i] = k.info
	}
	return infos, nil
}

// open describes the keys that an address names: all of them if it is empty, that with a fingerprint,
// or those with a comment.
func (a *agents) open(ctx context.Context, address string) ([]opened, error) {
	if strings.HasPrefix(address, "SHA256:") {
		digest, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(strings.TrimRight(address, "="), "SHA256:"))
		if err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("%w: a fingerprint is SHA256: and 43 characters, as ssh-add -l prints it", ErrURI)
		}
		address = strings.TrimRight(address, "=")
	}
	socket := a.options.Getenv(agentVariable)
	if socket == "" {
		return nil, fmt.Errorf("%w: %s is not set; start one with eval \"$(ssh-agent)\" and give it a key with ssh-add, "+
			"or make a key file with bailiwick keys new", ErrNoAgent, agentVariable)
	}
	held, err := withAgent(ctx, socket, a.listTime, agent.Agent.List)
	if err != nil {
		return nil, err
	}
	if err := checkHeld(socket, held); err != nil {
		return nil, err
	}
	var all []opened
	for _, k := range held {
		one := describeHeld(socket, k)
		if address == "" || address == fingerprint(k) || address == k.Comment {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: none of those in the ssh-agent (%d) is %q: ssh-add -l shows them, ssh-add FILE adds one",
			ErrNoKey, len(held), printable(address))
	}
	return all, nil
}

func checkHeld(socket string, held []*agent.Key) error {
	switch {
	case len(held) == 0: // which is also how an agent answers while it is locked
		return fmt.Errorf("%w: the ssh-agent at %s holds none, or is locked; add one with ssh-add, or unlock it with ssh-add -X", ErrNoKey, socket)
	case len(held) > maxAgentKeys:
		return fmt.Errorf("the ssh-agent at %s holds %d keys; at most %d are looked at: remove some with ssh-add -d", socket, len(held), maxAgentKeys)
	}
	for _, k := range held {
		if len(k.Comment) > maxAgentComment {
			return fmt.Errorf("the ssh-agent at %s holds a key with a comment of %d bytes; at most %d are read: remove it with ssh-add -d",
				socket, len(k.Comment), maxAgentComment)
		}
	}
	return nil
}

// describeHeld finds out what a key of the agent can do.
func describeHeld(socket string, k *agent.Key) opened {
	info := Info{URI: "ssh-agent:" + fingerprint(k), Source: "ssh-agent", Name: printable(k.Comment), Type: printable(k.Format), SSH: fingerprint(k)}
	unusable := func(why string) opened {
		info.Problem = fmt.Errorf("%w: %s", ErrUnusable, why)
		return opened{info: info}
	}
	switch {
	case strings.Contains(k.Format, "-cert-v"):
		return unusable("it is a certificate; the key that it is about can be added without it")
	case strings.HasPrefix(k.Format, "sk-"):
		info.Type = strings.TrimSuffix(strings.Replace(k.Format, "sk-ssh-", "sk-", 1), "@openssh.com")
		return unusable("a FIDO key signs a counter and a hash along with the message, which no TUF client can verify; " +
			"the same device may hold a PIV key (a pkcs11: URI), or take a key of its own: ssh-keygen -t ed25519")
	}
	parsed, err := ssh.ParsePublicKey(k.Blob)
	if err != nil {
		return unusable("this program does not know its kind; make one with ssh-keygen -t ed25519")
	}
	held, ok := parsed.(ssh.CryptoPublicKey)
	if !ok {
		return unusable("this program does not know its kind; make one with ssh-keygen -t ed25519")
	}
	info.Type = typeName(held.CryptoPublicKey())
	if parsed.Type() == ssh.KeyAlgoRSA {
		return unusable("agents sign with RSA by PKCS #1 v1.5 alone, and TUF wants PSS; make another with ssh-keygen -t ed25519")
	}
	public, err := key.FromCrypto(held.CryptoPublicKey())
	if err != nil {
		return unusable("TUF clients know Ed25519, and ECDSA on P-256 and P-384; make one with ssh-keygen -t ed25519")
	}
	info.Public = public
	return opened{info, &agentSigner{socket: socket, held: k, public: public}}
}

// fingerprint is of the key as the agent gave it, whatever its kind.
func fingerprint(k *agent.Key) string {
	sum := sha256.Sum256(k.Blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// agentSigner signs with a key that the agent holds.
type agentSigner struct {
	socket string
	held   *agent.Key
	public *key.Public
}

func (s *agentSigner) Public() *key.Public { return s.public }

func (s *agentSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := withAgent(ctx, s.socket, agentSignTime, func(a agent.Agent) (*ssh.Signature, error) {
		return a.Sign(s.held, message)
	})
	switch {
	case err == nil:
		return s.decode(sig)
	case errors.Is(err, errHungUp) && len(message) > openSSHMessage-1024:
		return nil, fmt.Errorf("%w: the ssh-agent hung up on a message of %d bytes; OpenSSH's takes %d: sign with a key file or a token",
			ErrTooLong, len(message), openSSHMessage)
	default:
		return nil, err
	}
}

// decode brings a signature of SSH into the form of TUF. Both sign the same bytes.
func (s *agentSigner) decode(sig *ssh.Signature) ([]byte, error) {
	if sig.Format != s.held.Format || len(sig.Rest) > 0 {
		return nil, fmt.Errorf("the ssh-agent answered with a signature of the kind %q: %w", printable(sig.Format), key.ErrBadSignature)
	}
	if s.public.Type() == key.TypeEd25519 {
		return sig.Blob, nil
	}
	var pair struct{ R, S *big.Int } // RFC 5656, 3.1.2
	if err := ssh.Unmarshal(sig.Blob, &pair); err != nil {
		return nil, fmt.Errorf("the ssh-agent's signature can not be read: %w", key.ErrBadSignature)
	}
	der, err := asn1.Marshal(pair)
	if err != nil {
		return nil, fmt.Errorf("the ssh-agent's signature can not be written as DER: %w", key.ErrBadSignature)
	}
	return der, nil
}

// errHungUp: the agent closed the connection instead of answering.
var errHungUp = errors.New("it hung up")

// withAgent asks the agent one question, on a connection of its own. The question ends with ctx, and
// after most.
func withAgent[T any](ctx context.Context, socket string, most time.Duration, ask func(agent.Agent) (T, error)) (T, error) {
	var zero T
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	late := fmt.Errorf("the ssh-agent at %s did not answer within %s; does it wait for a touch or a confirmation?", socket, most)
	conn, err := (&net.Dialer{}).DialContext(limited, "unix", socket)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return zero, fmt.Errorf("asking the ssh-agent: %w", ctx.Err())
	case limited.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded): // the dialer has its own clock
		return zero, late
	default:
		return zero, fmt.Errorf("%w: nothing answers at %s, which %s names (%w); it may have ended: start one with eval \"$(ssh-agent)\" and give it a key with ssh-add",
			ErrNoAgent, socket, agentVariable, withoutAddress(err))
	}
	stop := context.AfterFunc(limited, func() { _ = conn.Close() }) // ends a read or write under way
	defer func() {
		stop()
		_ = conn.Close() // every answer was read
	}()
	w := &watched{Writer: conn, r: io.LimitedReader{R: conn, N: maxAgentAnswer}}
	answer, err := ask(agent.NewClient(w))
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return zero, fmt.Errorf("asking the ssh-agent: %w", ctx.Err())
	case limited.Err() != nil:
		return zero, late
	case w.r.N == 0:
		return zero, fmt.Errorf("the ssh-agent at %s answers with more than %d bytes: is this an ssh-agent?", socket, maxAgentAnswer)
	case w.broken:
		return zero, fmt.Errorf("the ssh-agent at %s gave no answer: %w", socket, errHungUp)
	default:
		return zero, fmt.Errorf("the ssh-agent at %s refused (%w): it may be locked (ssh-add -X), have lost the key (ssh-add -l), or its owner declined", socket, err)
	}
}

// watched is a connection that counts what it reads and remembers whether it broke. It does not close
// the connection, so that the client of x/crypto starts no goroutine of its own.
type watched struct {
	io.Writer
	r      io.LimitedReader
	broken bool
}

// Read counts.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.broken = w.broken || err != nil
	return n, err
}

// Write remembers.
func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.broken = w.broken || err != nil
	return n, err
}

// withoutAddress takes the reason out of a dial error, which repeats the address.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
