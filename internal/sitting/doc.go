// Package sitting is the operators' signing request: what only offline keys can sign, in one file that
// travels to those keys and back. A sitting is a request over many bins of the claimed tree.
//
//	Plan             a request from a verified repository and what the operators want
//	Encode, Decode   the form in which it travels: one line of strict JSON for each file or payload
//	Judge            what signing it would do, and whose signatures are missing
//	Verdict          that, as values for programs and as lines for people
//
// Whoever signs offline has nothing but the file, and the file comes from the index, which may be in
// the hands of a thief. So the request brings the signed files that it changes and the chain of
// signatures above them, and [Judge] is the same function on the machine without a network, before
// anyone signs, and at the index, before anything is published.
//
// Invariants:
//
//   - Nothing is believed that offline keys, or the maintainers in question, have not signed. What the
//     index says of a project (a [Note]) is shown as the index's word and decides nothing.
//   - A payload is the next version of the signed file that it replaces, and every difference between
//     the two is one of the changes that [ChangeKind] names. Members are compared one by one; what this
//     package does not know must not differ.
//   - A claimed project stays delegated. Its keys change by its own keys only, or visibly: parked, or
//     recovered, which is told first in every summary.
//   - The bins of a request and the role claimed are signed together, so that clients who know
//     "minimum_version" never take a bin from before the sitting.
//   - A request is bound to one repository, by the hash of its first root, and lives for 60 days at most.
//   - A refusal is a *Refused whose text says what is wrong and what to do. It changes nothing.
//
// What no offline judge can see: whether the keys of a project that is promoted are its maintainers',
// which is what the days since the claim and the exceptions are for; and whether the newest versions
// were handed over, which the signer's memory of what it signed, and the importing index, are for.
//
// Everything is pure: no clock, no file, no randomness; Plan, Judge, Encode and Decode spread their work
// over the processors and return when all of it is done. A Request belongs to one goroutine; a Verdict
// is not changed after it was made.
package sitting
