package repo

// SpliceObject lets tests run the splicer on bytes that no parser has seen. It puts
// put, if not nil, and drops the member drop.
func SpliceObject(object []byte, name string, put []byte, drop string) ([]byte, error) {
	changes := []change{{name, func([]byte) ([]byte, error) { return put, nil }}}
	if drop != name {
		changes = append(changes, change{drop, func([]byte) ([]byte, error) { return nil, nil }})
	}
	return splice(nil, object, changes)
}
