// Package client follows a TUF repository: it drives the state machine of
// package trust with a Fetcher that gets files and a Store that keeps what was
// accepted, and downloads targets.
//
// A Client.Refresh makes a View: one moment of the repository, verified from the
// anchor that the caller gave. The View answers Find, List and Explain; delegated
// roles are obtained when needed. Client.Open and Client.Download get the bytes
// of what was found.
//
// What holds:
//
//   - The anchor is the caller's, always. The store holds the chain of roots from
//     it, so that it can be walked without requests, and is verified like the
//     network; it can lose or damage anything and cause no more than requests.
//     Only a damaged root.json stops, since it says how far the chain had led.
//   - A file is persisted after every check on it has passed, and is durable before an
//     update ends well. Roots, and what their rotation makes void, come one by one in the
//     order of the specification; timestamp, snapshot and targets come after the root
//     under which they were accepted, in any order. An update that fails or is
//     killed anywhere leaves a state from which a later one succeeds and that trusts no
//     more than before.
//   - Requests are, in this order: next roots, timestamp, snapshot, targets, the
//     last two only if they changed; then delegated roles as searches need them.
//   - No request is without bounds in bytes and time.
//   - Mirrors are trusted with nothing. What decides how far things are is asked of
//     all of them, so that one good mirror is enough, however the others behave.
//   - Only a repository's clear answer means "absent" (ErrAbsent); everything that
//     says nothing about a file is a *NetworkError.
//   - The last bytes of a target are not given away before its length and hashes
//     are found right.
//
// HTTPFetcher and Folder are the two parts that touch the world. Memory keeps
// nothing. Package storetest has the contract of stores as tests.
//
// Clients, Views, fetchers and stores are safe for concurrent use. Several
// processes may share a Folder.
package client
