// Package index is what a Python package index does: tokens and rights, uploads and their checks,
// and the pages that installers read.
package index
