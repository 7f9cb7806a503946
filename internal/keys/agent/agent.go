// Package agent signs with the keys of a running ssh-agent: a source of keys for a [keys.Opener],
// registered in its options.
//
// An agent's Ed25519 and ECDSA keys sign the bytes that they are given, so what they make are ordinary
// TUF signatures. RSA keys (which agents use with PKCS #1 v1.5 alone), FIDO keys and certificates are
// listed with the reason why they can not be used.
//
// It is a package of its own because it talks to a socket: programs that must not link network code,
// such as bailiwick-sign, leave it out.
//
// What always holds: every question has a connection of its own, a time limit and a bound on the
// answer; nothing that an agent says is shown without being made printable. A source may be used by
// several goroutines.
package agent

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
	sshagent "golang.org/x/crypto/ssh/agent"

	"example.com/bailiwick/internal/keys"
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

// Config says where the agent is.
type Config struct {
	// Getenv reads SSH_AUTH_SOCK; nil: there is no agent.
	Getenv func(string) string
	// ListTime bounds the wait for the list of keys; 0: ten seconds.
	ListTime time.Duration
}

// New makes the source. It asks the agent nothing yet, and every question anew: the socket may come and
// go between signatures.
func New(c Config) keys.Source {
	if c.Getenv == nil {
		c.Getenv = func(string) string { return "" }
	}
	if c.ListTime <= 0 {
		c.ListTime = agentListTime
	}
	return &source{c}
}

type source struct{ config Config }

func (a *source) Scheme() string { return "ssh-agent" }
func (a *source) Form() string   { return "ssh-agent:SHA256:FINGERPRINT" }
func (a *source) Close() error   { return nil }

// Find implements keys.Source: an agent tells no less to those who only look.
func (a *source) Find(ctx context.Context, address string) ([]keys.Info, error) {
	all, err := a.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	infos := make([]keys.Info, len(all))
	for i, k := range all {
		infos[i] = k.Info
	}
	return infos, nil
}

// Open describes the keys that an address names: all of them if it is empty, that with a fingerprint,
// or those with a comment.
func (a *source) Open(ctx context.Context, address string) ([]keys.Found, error) {
	if strings.HasPrefix(address, "SHA256:") {
		digest, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(strings.TrimRight(address, "="), "SHA256:"))
		if err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("%w: a fingerprint is SHA256: and 43 characters, as ssh-add -l prints it", keys.ErrURI)
		}
		address = strings.TrimRight(address, "=")
	}
	socket := a.config.Getenv(agentVariable)
	if socket == "" {
		return nil, fmt.Errorf("%w: %s is not set; start one with eval \"$(ssh-agent)\" and give it a key with ssh-add, "+
			"or make a key file with bailiwick keys new", keys.ErrNoAgent, agentVariable)
	}
	held, err := withAgent(ctx, socket, a.config.ListTime, sshagent.Agent.List)
	if err != nil {
		return nil, err
	}
	if err := checkHeld(socket, held); err != nil {
		return nil, err
	}
	var all []keys.Found
	for _, k := range held {
		one := describeHeld(socket, k)
		if address == "" || address == fingerprint(k) || address == k.Comment {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: none of those in the ssh-agent (%d) is %q: ssh-add -l shows them, ssh-add FILE adds one",
			keys.ErrNoKey, len(held), keys.Printable(address))
	}
	return all, nil
}

func checkHeld(socket string, held []*sshagent.Key) error {
	switch {
	case len(held) == 0: // which is also how an agent answers while it is locked
		return fmt.Errorf("%w: the ssh-agent at %s holds none, or is locked; add one with ssh-add, or unlock it with ssh-add -X", keys.ErrNoKey, socket)
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
func describeHeld(socket string, k *sshagent.Key) keys.Found {
	info := keys.Info{URI: "ssh-agent:" + fingerprint(k), Source: "ssh-agent", Name: keys.Printable(k.Comment), Type: keys.Printable(k.Format), SSH: fingerprint(k)}
	unusable := func(why string) keys.Found {
		info.Problem = fmt.Errorf("%w: %s", keys.ErrUnusable, why)
		return keys.Found{Info: info}
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
	info.Type = keys.TypeName(held.CryptoPublicKey())
	if parsed.Type() == ssh.KeyAlgoRSA {
		return unusable("agents sign with RSA by PKCS #1 v1.5 alone, and TUF wants PSS; make another with ssh-keygen -t ed25519")
	}
	public, err := key.FromCrypto(held.CryptoPublicKey())
	if err != nil {
		return unusable("TUF clients know Ed25519, and ECDSA on P-256 and P-384; make one with ssh-keygen -t ed25519")
	}
	info.Public = public
	return keys.Found{Info: info, Signer: &agentSigner{socket: socket, held: k, public: public}}
}

// fingerprint is of the key as the agent gave it, whatever its kind.
func fingerprint(k *sshagent.Key) string {
	sum := sha256.Sum256(k.Blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// agentSigner signs with a key that the agent holds.
type agentSigner struct {
	socket string
	held   *sshagent.Key
	public *key.Public
}

func (s *agentSigner) Public() *key.Public { return s.public }

func (s *agentSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := withAgent(ctx, s.socket, agentSignTime, func(a sshagent.Agent) (*ssh.Signature, error) {
		return a.Sign(s.held, message)
	})
	switch {
	case err == nil:
		return s.decode(sig)
	case errors.Is(err, errHungUp) && len(message) > openSSHMessage-1024:
		return nil, fmt.Errorf("%w: the ssh-agent hung up on a message of %d bytes; OpenSSH's takes %d: sign with a key file or a token",
			keys.ErrTooLong, len(message), openSSHMessage)
	default:
		return nil, err
	}
}

// decode brings a signature of SSH into the form of TUF. Both sign the same bytes.
func (s *agentSigner) decode(sig *ssh.Signature) ([]byte, error) {
	if sig.Format != s.held.Format || len(sig.Rest) > 0 {
		return nil, fmt.Errorf("the ssh-agent answered with a signature of the kind %q: %w", keys.Printable(sig.Format), key.ErrBadSignature)
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
func withAgent[T any](ctx context.Context, socket string, most time.Duration, ask func(sshagent.Agent) (T, error)) (T, error) {
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
			keys.ErrNoAgent, socket, agentVariable, withoutAddress(err))
	}
	stop := context.AfterFunc(limited, func() { _ = conn.Close() }) // ends a read or write under way
	defer func() {
		stop()
		_ = conn.Close() // every answer was read
	}()
	w := &watched{Writer: conn, r: io.LimitedReader{R: conn, N: maxAgentAnswer}}
	answer, err := ask(sshagent.NewClient(w))
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
