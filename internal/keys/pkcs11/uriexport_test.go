package pkcs11

// MaxURI shows the bound to tests.
const MaxURI = maxURI
