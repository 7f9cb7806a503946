// Package custody keeps the keys of an index away from its server. In custody "strict" the server holds
// the timestamp key alone; the registry and snapshot keys belong to a signer, a process on another machine
// that believes nothing it is told.
//
//	Proposal         a whole publication before the signatures that the server can not make
//	Encode, Decode   the form in which a proposal travels: strict, bounded, line by line
//	Judge            holds a proposal against what the signer has verified itself; pure
//	Signer           judges, remembers, signs; owns the interfaces [Memory] and [Repository]
//	Answer           the signatures, or why there are none
//
// The signer decides nothing about what an index should contain. It makes sure that the one who
// asks for its signatures has not changed what is not theirs to change:
//
//   - Every new version follows the newest one that the signer has verified, by one. Nothing is skipped,
//     rolled back, or based on a state that is gone.
//   - Whatever the registry key is to sign is built here anew, from the verified base and the changes that are
//     allowed, and must come out byte for byte as it was proposed. So does the snapshot.
//   - A role of maintainers is taken only out of a signing request that package ceremony judges complete, on the
//     signer's own view of the project; a role of operators out of one that package sitting does.
//   - A bin changes the keys of a project for one of these requests and for no other reason. No delegation, no
//     role and no file goes away silently; a file name stands for the same bytes for ever, also after its
//     deletion.
//   - One number, one proposal: what was signed is on the disk before it is handed out, the same proposal gets
//     the same answer, and another one of its number gets none.
//
// What it can not know it does not judge: which files the registry received for a project that nobody has
// claimed. That is what the word "unclaimed" says.
//
// Everything but the Signer is pure. A Signer belongs to one goroutine.
package custody
