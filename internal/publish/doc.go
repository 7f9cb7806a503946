// Package publish turns accepted changes into publications. A publication is one numbered, atomic
// change of a TUF repository: new versions of the roles that changed, the snapshot that lists them,
// and the timestamp, whose version is the publication's number.
//
// [Create] makes a repository, [Open] takes up an existing one, [Publisher.Run] is the one goroutine
// that publishes, and [Publisher.Publish] hands it a change and waits until every client can see it.
// While one publication is written, the next batch gathers in a bounded queue, so the cost of a
// change falls under load. [View] is the repository as one publication left it, for any number of
// readers.
//
// A batch goes through these steps; the file in brackets has them:
//
//	apply    each change edits its project's file list, or is refused alone   [change.go, list.go]
//	sign     likewise what maintainers have signed: claims, releases, keys    [sign.go]
//	offline  what operators have signed, alone in its batch                   [offline.go]
//	         and what online keys have to sign after it                       [follow.go]
//	call     recoveries that are announced or withdrawn                       [recovery.go]
//	build    new project roles, bins, snapshot, timestamp, each signed        [batch.go]
//	record   entries for whoever's keys changed, their head into the snapshot [record.go]
//	verify   by the client's own workflow, from the publication before        [verify.go]
//	commit   one transaction of the ledger                                    [publisher.go]
//	swap     the current view, then the answers                               [publisher.go]
//
// Invariants:
//
//   - Nothing is committed that a client who has seen the previous publication would refuse, and
//     every file that a batch adds is found by that client with the bytes that were uploaded.
//   - A change is answered with success only after the ledger has made its publication durable.
//   - What is in memory equals the ledger: it changes as a whole after a commit, and is read again
//     after a publication that failed half-way.
//   - A role has one version counter for life. No version, publication number or publication time
//     ever goes down.
//   - A file name stands for the same bytes for ever; deleted names are not used again.
//   - One change that is refused does not touch the others of its batch.
//   - What maintainers signed is published byte for byte as they signed it, judged by package
//     ceremony on the very state that it follows. The registry key signs no version of a role from
//     the moment that its project is claimed.
//   - What operators signed is published the same way, a whole request at once, with all that follows
//     from it: bins that lose promoted projects, everything that a new registry key has to sign, the next
//     online keys. It is verified from the previous publication and from the first root.
//   - Whose keys stand behind what does not change without an entry in the record, in the same
//     publication; the snapshot carries the head of the record, and the ledger's record is what the
//     newest snapshot stands for.
//   - A recovery takes effect after the delay that was announced in public, to the keys that were announced,
//     and not at all once the project's own keys have signed something.
//
// Online roles are renewed without anyone asking, superseded metadata is pruned in small steps
// [maintain.go], and a whole stored repository can be checked at any time [create.go]. All time
// comes from Config.Now; the timer of Run only says when to look at it.
//
// Not here: whether somebody may make a change (internal/index), who has to sign what
// (internal/ceremony, internal/sitting), what a repository looks like (internal/policy), how metadata is rendered (tuf/repo) and verified (tuf/trust).
package publish
