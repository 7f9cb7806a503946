package tuf

// UnverifiedValue gives tests the value of a file that nobody signed.
func UnverifiedValue[T any](u *Unverified[T]) *T { return u.value }

// DecodeHex shows decodeHex to tests.
func DecodeHex(dst, text []byte) bool { return decodeHex(dst, text) }

// AppendHex shows appendHex to tests.
func AppendHex(dst, src []byte) []byte { return appendHex(dst, src) }

// Fits shows tests whether h saved u a check of its signatures.
func Fits[T any](h *Ahead, u *Unverified[T]) bool { return h.fits(u.message, u.signatures) }
