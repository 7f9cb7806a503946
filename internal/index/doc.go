// Package index is what a Python package index does, between the people who upload and the
// publisher that signs: tokens and rights, the checks of an upload (the "legacy" upload API of the
// public index), pages of the Simple API (PEP 503, 691, 700), files and their metadata (PEP 658),
// signing requests of maintainers and the files that wait for them [requests.go, staged.go].
//
// Invariants:
//
//   - An upload that is answered with success is installable, unless the answer says that it is
//     staged: its bytes and its METADATA are durable before it is published, and it is published
//     before the answer.
//   - A file name stands for the same bytes for ever.
//   - Into a claimed project nothing comes but by its maintainers' signatures. A token admits to the
//     table: it stages files and carries signing requests. What they may do is decided by package
//     ceremony, here and again by the publisher.
//   - Pages and downloads come from what the publisher's current view verified, and from nothing
//     else.
//   - Whatever the user can mend is a *[Refusal] whose message says what is wrong and what to do.
//     Secrets are in no message.
//
// All methods of [Index] may be called concurrently. A [Content] belongs to one goroutine.
//
// The package speaks neither HTTP nor multipart, and keeps nothing itself: files, tokens
// and what waits for signatures are behind the interfaces [Files], [Tokens] and [Records].
package index
