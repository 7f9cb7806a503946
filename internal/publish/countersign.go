package publish

import (
	"context"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/tuf/key"
)

// Countersigner is the way to the isolated signer, which holds the keys that the publisher does not.
type Countersigner interface {
	// Ready reports whether a proposal would be answered at once. It does not wait.
	Ready() bool

	// Keys returns the ids of the keys that the signer has, as it says; none if it is not there.
	Keys() []key.ID

	// Countersign has an encoded proposal answered: with signatures, which the publisher verifies, or with a
	// refusal. ErrNoSigner if no answer came; the signer may have signed all the same, so the same bytes have to
	// be sent again before any others of their number. Called by one goroutine.
	Countersign(ctx context.Context, proposal []byte) (*custody.Answer, error)
}

// StoredProposal is the publication that the signer is asked to sign, as it is kept until it is committed.
type StoredProposal struct {
	Number      int64  // version of the snapshot that it makes
	Proposal    []byte // as it is sent
	Publication []byte // what is committed with the answer
}

// Proposals keeps what was proposed, so that after a crash the same proposal is sent again. There is one at
// most. The ledger implements it: [Ledger.Commit] of a publication with a snapshot drops, in its own
// transaction, every proposal whose number is not higher than the snapshot's version.
type Proposals interface {
	// Proposal returns what is kept, or ErrNotFound.
	Proposal(ctx context.Context) (StoredProposal, error)

	// PutProposal keeps p in the place of what was kept before. Durable on return.
	PutProposal(ctx context.Context, p StoredProposal) error

	// DropProposal forgets what is kept, if anything is.
	DropProposal(ctx context.Context) error
}
