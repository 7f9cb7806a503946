// Package e2e holds the end-to-end tests: the real binary, driven by real
// installers, uploaders and TUF clients over loopback. It contains no code for
// others to use.
//
// Programs that a machine may lack (old and new pip, twine, uv, python-tuf, a
// corpus of real packages) are installed by `.ci/tools` below .cache/tools. A
// test that misses one is skipped with a line that says so; with CI set in the
// environment it fails instead.
package e2e
