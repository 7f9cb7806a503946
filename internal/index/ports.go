package index

import (
	"context"
	"errors"
	"io"
	"time"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
)

// Errors of [Files], [Tokens] and [Records]. An implementation wraps them; callers test with errors.Is.
var (
	// ErrNoBlob: no content with this SHA-256 is kept.
	ErrNoBlob = errors.New("no such content")
	// ErrNoToken: no token has this hash.
	ErrNoToken = errors.New("no such token")
	// ErrNoRequest: no signing request has this identifier, or not any more.
	ErrNoRequest = errors.New("no such signing request")
	// ErrRequestClosed: the operators' signing request was published, aborted or has expired.
	ErrRequestClosed = errors.New("the signing request is closed")
	// ErrFull: the content could not be stored because space has run out. The caller may try
	// again later; nothing was kept.
	ErrFull = errors.New("no space left for content")
)

// Files keeps immutable content, distribution files, under its SHA-256. All methods may be called concurrently.
type Files interface {
	// Stage returns a place for content whose hash is not known yet. The caller ends it with
	// exactly one of Keep and Discard. What a crash leaves behind is removed by the adapter.
	Stage(ctx context.Context) (Staged, error)

	// Open returns kept content, or ErrNoBlob. The adapter does not check the hash on reading;
	// the caller closes the blob.
	Open(ctx context.Context, sum [32]byte) (Blob, error)
}

// Staged is content on its way in. It belongs to one goroutine.
type Staged interface {
	// Write appends. After an error (ErrFull among them) only Discard makes sense.
	io.Writer

	// ReadAt reads what was written so far, for looking into an archive before keeping it.
	io.ReaderAt

	// Keep stores the content under its hash, which the caller has computed, and ends the staging.
	// On nil the content and its name are durable. Content that is kept under sum already is left
	// as it is, and that is success. It may be repeated after an error; Discard after an error
	// releases the space.
	Keep(ctx context.Context, sum [32]byte) error

	// Discard throws the content away. It does nothing after a successful Keep or a first Discard,
	// so that it can be deferred.
	Discard() error
}

// Blob is kept content, open for reading. It belongs to one goroutine.
type Blob interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64 // bytes
}

// Records keeps what waits for the signatures of maintainers, and what happened to their projects.
// It is one store, so that a publication drops in its own transaction what it has executed: see
// publish.Ledger.Commit. All methods may be called concurrently.
type Records interface {
	StagedFiles
	Requests
	OperatorRequests
	Waiting
	Events
}

// StagedFiles keeps what is known of files that were uploaded and checked and that nobody has
// signed yet. Their content is in [Files].
type StagedFiles interface {
	// AddStaged adds a file, and the event that says so, in one transaction. A file of the same
	// name and SHA-256 that is there already stays as it is, nothing is recorded, and the answer is
	// false. Durable on return.
	AddStaged(ctx context.Context, f publish.File, e publish.Event) (bool, error)

	// Staged returns the staged files of a project, in the order of their names, then the oldest
	// first.
	Staged(ctx context.Context, p pypi.Project) ([]publish.File, error)

	// RemoveStaged drops all staged files of one name, and records the event if there were any. It
	// returns how many.
	RemoveStaged(ctx context.Context, name pypi.Filename, e publish.Event) (int, error)

	// ExpireStaged drops files that were staged at or before a time, of all projects. It returns how many.
	ExpireStaged(ctx context.Context, before time.Time) (int, error)
}

// Requests keeps signing requests that wait for signatures.
type Requests interface {
	// AddRequest adds a request, and the event that says so, in one transaction. A request of the
	// same identifier stays as it is, nothing is recorded, and the answer is false. Durable on
	// return.
	AddRequest(ctx context.Context, r StoredRequest, e publish.Event) (bool, error)

	// Request returns a request with the signatures that were added since, or ErrNoRequest.
	Request(ctx context.Context, id string) (StoredRequest, error)

	// Requests returns those of a project, oldest first.
	Requests(ctx context.Context, p pypi.Project) ([]StoredRequest, error)

	// OpenRequests returns those of all projects, oldest first, at most limit of them.
	OpenRequests(ctx context.Context, limit int) ([]StoredRequest, error)

	// SignRequest adds signatures to a request, and records the event, in one transaction. A
	// signature takes the place of an earlier one on the same role by the same key. Durable on
	// return. ErrNoRequest if it is gone: executed, aborted or expired.
	SignRequest(ctx context.Context, id string, signatures []RoleSignature, e publish.Event) error

	// CloseRequest drops a request, and records the event, in one transaction. ErrNoRequest if it
	// is gone already; nothing is recorded then.
	CloseRequest(ctx context.Context, id string, e publish.Event) error

	// ExpireRequests drops requests that expire at or before a time. It returns how many.
	ExpireRequests(ctx context.Context, now time.Time) (int, error)
}

// OperatorRequests keeps the signing requests of operators, open and closed ones. A publication that executes one
// marks it as published in its own transaction: see publish.Ledger.Commit.
type OperatorRequests interface {
	// AddOperatorRequest adds an open request. One of the same identifier stays as it is, whatever its
	// state, and the answer is false; only an aborted or expired one is opened anew. Durable on return.
	AddOperatorRequest(ctx context.Context, r OperatorRequest) (bool, error)

	// OperatorRequest returns a request with its body and the signatures that were added since, or
	// ErrNoRequest. A closed one has neither any more.
	OperatorRequest(ctx context.Context, id string) (OperatorRequest, error)

	// OperatorRequests returns all that are in one of the states (any, if none is named), oldest first, without
	// bodies, with the signatures of open ones, and at most the newest limit of them.
	OperatorRequests(ctx context.Context, limit int, states ...RequestState) ([]OperatorRequest, error)

	// SignOperatorRequest adds signatures to an open request, in one transaction, and replaces its summary unless
	// summary is nil. A signature takes the place of an earlier one on the same role by the same key.
	// Durable on return. ErrNoRequest if there is none, ErrRequestClosed if it is not open.
	SignOperatorRequest(ctx context.Context, id string, signatures []RoleSignature, summary []byte) error

	// AbortOperatorRequest closes an open request. ErrNoRequest if there is none, ErrRequestClosed if
	// it is not open.
	AbortOperatorRequest(ctx context.Context, id string, at time.Time) error

	// ExpireOperatorRequests closes open requests that expire at or before a time. It returns how many.
	ExpireOperatorRequests(ctx context.Context, now time.Time) (int, error)
}

// RequestState says what became of a signing request of operators. The set is closed.
type RequestState string

// The states.
const (
	RequestOpen      RequestState = "open"
	RequestPublished RequestState = "published"
	RequestAborted   RequestState = "aborted"
	RequestExpired   RequestState = "expired"
	// RequestOvertaken is said of a request that the index closed because it could never be published any more: another
	// publication made newer versions of what it is based on. [OperatorRequests] keeps it as aborted; its summary says why.
	RequestOvertaken RequestState = "overtaken"
)

// MaxOperatorBody bounds the body of an operators' request, in bytes.
const MaxOperatorBody = 1 << 30

// OperatorRequest is a signing request of operators as it is kept.
type OperatorRequest struct {
	ID      string
	Kind    string    // what it is about, in one word, for lists
	Body    []byte    // encoded by package sitting, with the signatures that it came with; at most MaxOperatorBody
	Summary []byte    // what lists show of it; whoever stores it decides about its form
	Token   string    // identifier of the token that brought it
	Created time.Time // UTC, whole seconds
	Expires time.Time // UTC, whole seconds
	// What follows is set when it is read; AddOperatorRequest passes over it.
	State       RequestState
	Publication int64     // that executed it; 0 if none did
	Closed      time.Time // when it was published, aborted or expired; zero while it is open
	Signatures  []RoleSignature
}

// Events is the record of what happened to projects. It is written by the methods above and by
// publications.
type Events interface {
	// Events returns the newest events of a project, newest first, at most limit of them.
	Events(ctx context.Context, p pypi.Project, limit int) ([]publish.Event, error)
}

// StoredRequest is a signing request as it is kept.
type StoredRequest struct {
	ID       string
	Project  pypi.Project
	Body     []byte    // encoded by ceremony, with the signatures that it came with
	Token    string    // identifier of the token that brought it
	Received time.Time // UTC, whole seconds
	Expires  time.Time // UTC, whole seconds
	// Signatures were added since. Set by Request and Requests; AddRequest passes over it.
	Signatures []RoleSignature
}

// RoleSignature is a signature on one role of a request.
type RoleSignature struct {
	Role      tuf.RoleName
	Signature tuf.Signature
}

// Right says what a token is good for. The set is closed.
type Right string

// The rights.
const (
	RightUpload   Right = ""         // to upload and to bring signing requests of projects
	RightOperator Right = "operator" // to do what operators do online; not to upload
	RightSigner   Right = "signer"   // to be the isolated signer of the index; nothing else
)

// Token is a right, to upload unless it says otherwise. The secret itself is never stored.
type Token struct {
	ID       string         // short public name, shown in lists and logs
	Hash     [32]byte       // SHA-256 of the secret, the whole string with its prefix
	Right    Right          // what it is good for
	Projects []pypi.Project // where it may upload; nil: every project
	Note     string         // for people
	Created  time.Time      // UTC, whole seconds
	Revoked  time.Time      // UTC, whole seconds; zero: still good
}

// Tokens keeps the tokens. All methods may be called concurrently.
type Tokens interface {
	// Token returns the token with this hash, revoked ones included, or ErrNoToken.
	Token(ctx context.Context, hash [32]byte) (Token, error)

	// PutToken adds a token or replaces the one with the same hash; durable on return, and visible
	// to the next call of Token. Safe to repeat.
	PutToken(ctx context.Context, token Token) error

	// Tokens returns all of them, oldest first.
	Tokens(ctx context.Context) ([]Token, error)
}
