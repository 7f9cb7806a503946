// Package trust is the client workflow of TUF, section 5 of the specification
// 1.0.34, as a state machine: bytes and a time go in, and they are accepted, or
// refused with a *RefusedError that names the step. It does no input or output.
//
// An update goes through stages, each made by the one before, so that no other
// order can be written down:
//
//	Begin → *RootStage → *TimestampStage → *SnapshotStage → *TargetsStage → *Set
//
// A stage says what it wants (Want), may be offered what was stored (Stored),
// and takes what the repository shows (Accept) or goes on with what it has
// (Keep). The Set at the end is immutable. It finds targets through delegations
// (Find, List, Explain), and begins the next update (Next), which is held
// against it. The caller persists a file after the step that accepted it.
//
// What holds:
//
//   - Nothing is used that was not verified, from bytes as they were received.
//   - One routine counts signatures for all roles, by distinct key material.
//   - All expiry checks of an update, and of searches in its Set, use the one
//     time at which it began. What expires at that moment is expired.
//   - Trust belongs to the edge: a role that verified through one delegator is
//     verified again when reached through another that asks for other keys. What each
//     delegation says of paths, order, termination and minimum version is its own.
//   - "Not listed" (ErrNotFound) and "could not be verified" never look alike.
//     A role on the way that is missing, expired or badly signed ends a search:
//     there is no falling through to a role of lower priority. Here we are
//     stricter than the words of 5.6.7, which calls both "not found". The same
//     goes for a delegated role that the snapshot does not list.
//   - What is trusted only changes by a complete step. A refused file changes
//     nothing, and an honest update succeeds afterwards.
//
// Stages are for one goroutine; Sets and Caches are safe for concurrent use.
//
// Where the text of the specification leaves a choice:
//
//   - Rotated means any change of the keys or the threshold of timestamp or
//     snapshot; both stored files go, before the new root is stored (5.3.11).
//   - A timestamp of the trusted version changes nothing, whatever it holds; the
//     stored one stays in force and must not be expired (5.4.3.1).
//   - A stored snapshot that has the listed version, but not the listed hash, is
//     fetched again, and still protects from rollback (5.5).
//   - A snapshot must not be older than the trusted one, even if no timestamp is
//     left to say so (5.5.5).
//   - Where a length is listed, a file has exactly that length.
//   - "minimum_version" in a delegation and "role_name" in a targets role, additional
//     members, are enforced where they are.
//
// From each step to the function that takes it, the test that shows it, and the
// attack that it stops:
//
//	step     function                      test                        attack
//	4.3      parsed                        TestMalformed               crafted metadata, other specification
//	5.1      Begin                         TestOneStartTime            freeze by a slow update
//	5.2      rootSignedBySelf              TestInitialRoot             damaged or swapped anchor
//	5.3.3    RootStage.Want                TestRootLimit               endless chain of roots
//	5.3.4    rootSignedByBoth              TestRootRotations           root by too few keys, old or new
//	5.3.5    rootIsNext                    TestRootVersion             skipped or repeated root
//	5.3.6    RootStage.follow              TestIntermediateRootExpired —
//	5.3.10   RootStage.Done                TestExpired                 freeze at an old root
//	5.3.11   Rotated                       TestFastForwardRecovery     versions raised out of reach
//	5.3.12   FileName                      TestFileNames               —
//	5.4.1    checkLength                   TestLengths                 endless data
//	5.4.2    verified                      TestThresholds              forged metadata, keys counted twice
//	5.4.3.1  timestampNotOlder             TestTimestampRollback       rollback
//	5.4.3.2  timestampPinsNoOlderSnapshot  TestPinnedSnapshotRollback  rollback
//	5.4.4    unexpired                     TestExpired                 freeze
//	5.5.1    SnapshotStage.Want            TestLengths                 endless data
//	5.5.2    checkHashes                   TestListedHashes            mix and match
//	5.5.3    SnapshotStage.verify          TestThresholds              forged metadata
//	5.5.4    versionIsPinned               TestMixAndMatch             mix and match
//	5.5.5    snapshotNotOlder              TestSnapshotRollback        rollback of single roles, removed roles
//	5.5.6    SnapshotStage.follow          TestExpired                 freeze
//	5.6.1    TargetsStage.Want             TestLengths                 endless data
//	5.6.2    checkBytes                    TestListedHashes            mix and match
//	5.6.3    state.verifyTargets           TestThresholds              forged metadata
//	5.6.4    state.checkTargets            TestMixAndMatch             mix and match
//	5.6.4    namedLikeRole                 TestRoleName                role passed off as another of the same key
//	5.6.4    notBelowMinimum               TestMinimumVersion          role from before a delegation changed
//	5.6.5    state.checkTargets            TestExpired                 freeze
//	5.6.7    search.find                   TestTraversal               wrong role has the say
//	5.6.7    search.follow                 TestEdges                   role verified through another parent
//	5.6.7    search.verified               TestCannotVerify            fall-through to a lesser role
//	5.6.7.1  search.next                   TestSearchLimits            cycles, endless delegations
//	5.6.7.1  search.match                  TestSlowPatterns            endless work
//	5.6.7.2  search.expand                 TestTraversal               terminating overridden
//	5.7.2    Set.Find                      TestNotFound                —
//	5.7.3    Found.FetchName               TestFetchName               —
package trust
