package publish

import "errors"

// Errors of [Publisher.Publish], [Open] and [Create], besides those of the [Ledger]. They come
// wrapped in text that says what they are about; test with errors.Is.
var (
	// ErrRepositoryExists: Create was called on a ledger that holds a repository.
	ErrRepositoryExists = errors.New("there is a repository here already")
	// ErrBusy: the queue is full; nothing was changed, and the same change may be sent again
	// in a moment.
	ErrBusy = errors.New("too many changes are waiting to be published; try again in a moment")
	// ErrClosed: the publisher has stopped; nothing was changed.
	ErrClosed = errors.New("the publisher has stopped")
	// ErrClockBack: the clock shows an earlier time than the last publication. Publishing would
	// sign an expiry that could be lower than the one before; the clock has to be mended first.
	ErrClockBack = errors.New("the clock is behind the last publication")
	// ErrInvalid: a change that could never be published, because of what it says itself.
	ErrInvalid = errors.New("invalid change")
	// ErrFileExists: the file name was used before for other bytes, or its file was deleted; a
	// name is never used a second time.
	ErrFileExists = errors.New("file already exists")
	// ErrSdistExists: a version has one source distribution, and this one has it already.
	ErrSdistExists = errors.New("a version has only one source distribution")
	// ErrTooManyFiles: the project's list of files has reached the size that clients read.
	ErrTooManyFiles = errors.New("the project has too many files")
	// ErrNoFile: a change of a file that the project does not list.
	ErrNoFile = errors.New("no such file")
	// ErrNotRegistry: the project's role is signed by its maintainers, not by the registry key.
	ErrNotRegistry = errors.New("the project is claimed: its maintainers have to sign the change")
	// ErrUnsigned: a signing request does not have all the signatures that it needs.
	ErrUnsigned = errors.New("signatures are missing")
	// ErrUnclaimed: the project has no maintainers' keys that could be lost.
	ErrUnclaimed = errors.New("the project is not claimed")
	// ErrRecoveryWaits: a recovery of the project was announced already.
	ErrRecoveryWaits = errors.New("a recovery of the project waits already")
	// ErrNoRecovery: no recovery of the project waits: none was announced, or it is over.
	ErrNoRecovery = errors.New("no recovery of the project was announced")
	// ErrTooEarly: the delay of an announced recovery has not passed.
	ErrTooEarly = errors.New("the announced recovery can not take effect yet")
	// ErrExpired: a role has expired that people have to sign, so clients refuse the project.
	ErrExpired = errors.New("an offline role has expired; people have to sign it")
	// ErrDamaged: what the ledger holds is not a repository that a client would accept.
	ErrDamaged = errors.New("the stored repository does not verify")
	// ErrWrongKey: a key at hand is not one that the repository names for its role.
	ErrWrongKey = errors.New("wrong signing key")
	// ErrNoSigner: the keys that the change needs are with the isolated signer of the index, and it is not
	// there. Nothing was published; the same change may be handed over again when it comes. What was proposed to the
	// signer before it went is published with the next change, or by itself.
	ErrNoSigner = errors.New("the index's signer is not connected")
	// ErrNotSigned: the isolated signer of the index refuses to sign. Nothing was published. It wraps a
	// *custody.Refused with the reason.
	ErrNotSigned = errors.New("the index's signer does not sign this")
	// ErrVerification: the staged publication did not pass the client's own checks. Nothing was
	// committed. This is a defect, or an offline role that has expired, and it is logged as
	// an alarm.
	ErrVerification = errors.New("the staged publication does not verify")
)
