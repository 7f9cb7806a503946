// Package proxy is the loopback index that unmodified installers talk to, and what points them at it.
//
// [Start] serves, under http://127.0.0.1:8399/ROOT/SECRET/, the Simple API pages and files that a
// verify.Engine vouches for, and nothing else. ROOT names the pinned root, so that what an installer
// caches under one root never serves another; SECRET keeps other users of the machine out and is kept
// between runs, so that addresses, and with them the installers' caches, stay the same.
//
// The same listener is the guard: installers get it as their HTTP proxy too, and it answers 403 with a
// readable phrase to everything that is not the verified index. [Environ] makes the environment that
// does both, [Scanner] finds what on a command line would lead around it.
//
// How refusals reach people, because each installer shows another part of an answer:
//
//   - a file or its METADATA: 403 with the sentence as reason phrase and in the body;
//   - a page that cannot be built: 200 with a Content-Type that is no index page and holds the
//     sentence, which pip prints (it hides every error status on pages); for uv, a 409;
//   - the repository cannot be reached: 503 with Retry-After, so that installers try again;
//   - not in the verified repository: 404.
//
// A file whose last block turns out wrong is cut off in mid-air; the retry gets the 403.
//
// The package decides nothing about trust. Everything exported is safe for concurrent use.
package proxy
