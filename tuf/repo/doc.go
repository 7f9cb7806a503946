// Package repo is the publishing side of TUF: it turns a state and a change
// into the next unsigned version of a role, says who must sign it, and joins
// the signatures into the bytes to publish.
//
// It follows sections 4 and 6 of the TUF specification 1.0.34 and reads no file,
// clock or socket: time enters with the [Issue], keys sign through
// [key.Signer], possibly days later and on another machine.
//
// Invariants:
//
//   - A [Draft] holds exactly the canonical bytes that will be signed, and
//     [Draft.Assemble] publishes those bytes in a canonical envelope, so that
//     a client may verify what it received without encoding it anew.
//   - Editors splice into the canonical bytes of a verified role. What they
//     were not told to change stays as it was, members unknown to this
//     package included.
//   - An editor's version is its base's version plus one, every expiry lies
//     after the caller's now, every threshold can be reached, every target has
//     a hash, every pattern parses, and no role name collides with another.
//     Anything else is refused before anybody is asked to sign it.
//   - A root from version 2 on needs its predecessor's keys as well; its draft
//     carries both authorities.
//   - Every file of type "targets" carries its own role name in the additional
//     member [MemberRoleName]. A signature does not cover the name under which a
//     file is served, and roles often share a key: without the member, whoever
//     serves the files could pass one role off as another of the same key and
//     version, and so make what the right role lists disappear.
//
// Whoever publishes hands the signed result to trust.Set.Stage first (trust.StageFirst
// for a new repository): it takes the steps of a client that has the last publication,
// and refuses what clients would refuse, or would look for in vain.
//
// All values are immutable and safe for concurrent use, except that
// specification structs must not be changed while a function reads them.
package repo
