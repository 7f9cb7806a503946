// Package verify is the installing side's engine: it decides which files an installer may see, hands
// out only bytes that match what was signed, and explains every decision.
//
// An [Engine] drives tuf/client. One engine serves one install session: it takes one verified
// snapshot of the repository and answers everything from it, so that an install never mixes two
// moments. In a long-lived proxy it takes a new one at most once in [Config.Refresh].
//
// What holds:
//
//   - A listing is built from verified targets alone; pages of the server are never read.
//   - Nothing of the last block of a file leaves the engine before the whole file has the signed
//     length and hashes. Who receives a broken stream has an incomplete file.
//   - A file that did not match stays refused, with the reason, for [Config.Remember].
//   - METADATA is handed out only if its bytes have the hash that the wheel's signed entry names.
//   - "Not found" is what a verified repository says. What could not be verified is never "not found".
//   - Nothing of a project is handed out below the assurance that [Config.Require] asks for, and nothing
//     below the best that [Config.Memory] has of it, unless the user says so for that project. A memory
//     that can not be read is trouble, not an empty one.
//   - What is wrong with a role that maintainers sign is told as that, and nobody else is asked.
//
// Four kinds of trouble are told apart in every message and exit code ([Class]): a file or project is
// refused; the metadata is unusable (expired, rolled back, not signed by enough keys); the repository
// cannot be reached; the verified repository does not have it.
//
// The package does no I/O of its own: the network is behind tuf/client, files behind [Cache]. All
// methods of Engine are safe for concurrent use.
package verify
