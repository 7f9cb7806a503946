package index

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/tuf/key"
)

// Limits bound what an upload may be. Zero fields take their default.
type Limits struct {
	FileSize int64 // bytes of a file; default DefaultFileSize
}

// DefaultFileSize is the limit of the public index.
const DefaultFileSize = 100 << 20

// Config is what an [Index] is made of. Everything but Limits and Records is required.
type Config struct {
	Publisher *publish.Publisher
	Files     Files
	Tokens    Tokens
	// Records keeps what waits for maintainers' signatures. Without it nobody can claim a project
	// here, and uploads to claimed projects are refused.
	Records Records
	Limits  Limits
	// Custody says of the online keys where they are, for forecasts; those it leaves out are on the server.
	Custody map[policy.KeyRole]policy.Custody
	// NextKey makes the key that an online role gets next, or returns the one that waits already. It is durable when
	// it returns. Nil: this index makes no keys.
	NextKey func(ctx context.Context, role policy.KeyRole) (key.Signer, error)
	// SignerKey returns the key that the isolated signer brings for a role; its errors are for operators. Nil: there is no signer.
	SignerKey func(role policy.KeyRole) (*key.Public, error)
	Now       func() time.Time
}

// Index is a Python package index. Safe for concurrent use.
type Index struct {
	publisher *publish.Publisher
	files     Files
	tokens    Tokens
	records   Records // nil: none
	limits    Limits
	custody   map[policy.KeyRole]policy.Custody
	nextKey   func(context.Context, policy.KeyRole) (key.Signer, error) // nil: none can be made
	signerKey func(policy.KeyRole) (*key.Public, error)                 // nil: there is no signer
	now       func() time.Time

	projects atomic.Pointer[projectList] // of the newest snapshot that was asked about
	unpack   chan struct{}               // a slot for each wheel that METADATA is being taken out of
	hall     chan struct{}               // a slot for the operators' request that is being planned or imported
}

// maxUnpack bounds the wheels that are open for their METADATA at once. The directory of one may take
// tens of megabytes, and anybody may ask.
const maxUnpack = 2

// New makes an index out of its parts.
func New(c Config) (*Index, error) {
	if c.Publisher == nil || c.Files == nil || c.Tokens == nil || c.Now == nil {
		return nil, errors.New("an index needs a publisher, files, tokens and a clock")
	}
	if c.Limits.FileSize < 0 {
		return nil, fmt.Errorf("a file can not be limited to %d bytes", c.Limits.FileSize)
	}
	if c.Limits.FileSize == 0 {
		c.Limits.FileSize = DefaultFileSize
	}
	return &Index{
		publisher: c.Publisher, files: c.Files, tokens: c.Tokens, records: c.Records, limits: c.Limits, custody: c.Custody, nextKey: c.NextKey, signerKey: c.SignerKey, now: c.Now,
		unpack: make(chan struct{}, maxUnpack), hall: make(chan struct{}, 1),
	}, nil
}
