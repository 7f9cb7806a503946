// Package tuf is the metadata model of The Update Framework: it turns received bytes
// into typed values that can be trusted, or into an error.
//
// It implements sections 4 (file formats), 4.2.1 (signatures and thresholds) and the
// path matching of 4.5 of the TUF specification 1.0, and TAP 15 (succinct_roles). The
// client workflow of section 5, which decides when to trust what, is package trust;
// it calls this one with bytes and authorities.
//
// # Verifying a download, in reading order
//
// To find out whether a file is what its repository's key holders say, a program goes
// through these steps, and so may a reader of this package:
//
//	u, err := tuf.ParseRoot(data, nil)             // parse.go: well-formed, not trusted
//	root, err := u.Verify(tuf.SelfAuthority(u))    // authority.go: enough keys signed
//	a, _ := root.Authority(tuf.RoleTargets)        // root.go: who may sign targets
//	v, err := tuf.ParseTargets(more, nil)
//	targets, err := v.Verify(a)                    // targets.go: a value to be used
//	for d := range targets.Delegations().Match(p)  // delegations.go, matcher.go: who else
//	target, ok := targets.Lookup(p)                // index.go: length and hashes
//	err = target.Hashes.Check(content)             // hashes.go
//
// Between these lines package trust also checks versions, expiry and consistency with
// the snapshot. Do not leave that out: a good signature says who, not when.
//
// # Invariants
//
//   - Verified is a type. Parse functions give an Unverified; only its Verify gives a
//     *Root, *Timestamp, *Snapshot or *Targets, and those have no exported fields.
//   - What is verified is what was received. Signatures are checked over a part of the
//     received bytes, or over their canonical form if they are laid out differently;
//     never over a structure that was encoded anew. All values are read from the same
//     bytes. Members that we do not know are covered, kept and available (Member).
//   - One routine counts signatures for all roles. It counts key material, so that one
//     key under two ids, or in two spellings, is one key holder.
//   - A key of an unknown type is ignored, never an error of the file; thus a
//     repository may introduce one. The same goes for a key whose id is not its hash.
//   - Order has meaning in delegations, and is kept.
//   - Parsing is total: no input makes it panic, and Limits bounds its cost.
//
// # Memory
//
// Received bytes stay in memory and everything else refers to them. A targets file of
// any size costs one index of sixteen bytes a target, and no allocation a target;
// values are decoded when they are asked for. Metadata that is published canonically,
// as ours is, is verified as it lies.
//
// # Concurrency
//
// Values are immutable once parsed, and may be used by any number of goroutines. The
// caller must not change bytes that it has passed to a parse function, nor those that
// it gets from here.
package tuf
