// Package ceremony is the one mechanism by which people sign: the signing request. A request
// holds new versions of roles ("payloads"), says on which versions they are based, and collects
// signatures from any number of people in any order, until the roles may be published.
//
//	Decode, Encode   the form in which a request travels: strict, bounded JSON
//	Look             where a project stands in a verified repository
//	Judge            what a request may do there, and whose signatures are missing
//	Describe         what would change, in lines for people, before anyone signs
//
// Three kinds concern a project: a claim gives its role to maintainers' keys, a release changes
// its list of files, and a rekey changes who signs it (add, remove, recover, revoke).
//
// Invariants:
//
//   - Nothing is taken from a request that was not signed by the keys whose say it is. A token
//     may bring a request in; it does not decide anything, with the one exception that Judge
//     explains under "account".
//   - What is published is the payload's message as it was signed, byte for byte.
//   - A request is bound to one repository, by the hash of its first root, and to the versions on
//     which it is based: executed once, it is stale for ever.
//   - A refusal is a *Refused whose text names what is wrong and what to do. It changes nothing.
//   - No private key comes in: a request that seems to hold one is refused before it is stored.
//
// Everything is pure: no clock, no file, no randomness. A Request belongs to one goroutine; a
// Standing and a Verdict are not changed after they were made.
package ceremony
