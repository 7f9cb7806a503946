package dist

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"example.com/bailiwick/internal/pypi"
)

// topDir collects the top directory of the members of an sdist.
type topDir struct {
	name string
}

func (t *topDir) add(member string) error {
	top, _, below := strings.Cut(member, "/")
	switch {
	case !below:
		return invalid(RuleTopDir, "member %.200q lies outside of a top directory; an sdist has one, NAME-VERSION", member)
	case t.name == "":
		t.name = top
	case t.name != top:
		return invalid(RuleTopDir, "the archive has two top directories, %.200q and %.200q; an sdist has one, NAME-VERSION", t.name, top)
	}
	return nil
}

func (l Limits) checkZipSdist(filename pypi.Filename, r io.ReaderAt, size int64) (*Info, error) {
	z, err := l.openZip(r, size)
	if err != nil {
		return nil, err
	}
	var top topDir
	for i := range z.members {
		if err := top.add(z.members[i].name); err != nil {
			return nil, err
		}
	}
	data, err := readRequired(z, top.name+"/PKG-INFO", l.Metadata)
	if err != nil {
		return nil, err
	}
	metadata, err := ParseMetadata(data)
	if err != nil {
		return nil, err
	}
	if err := checkIdentity(filename, metadata); err != nil {
		return nil, err
	}
	return &Info{Metadata: metadata, Members: len(z.members), Unpacked: z.unpacked}, nil
}

func (l Limits) checkTarSdist(filename pypi.Filename, r io.ReaderAt, size int64) (*Info, error) {
	raw := &source{r: io.NewSectionReader(r, 0, size)}
	info, pkgInfo, err := l.readTar(bufio.NewReaderSize(raw, 64<<10), size)
	if raw.err != nil {
		return nil, raw.err
	}
	if err != nil {
		return nil, err
	}
	if info.Metadata, err = ParseMetadata(pkgInfo); err != nil {
		return nil, err
	}
	if err := checkIdentity(filename, info.Metadata); err != nil {
		return nil, err
	}
	return info, nil
}

// readTar reads a whole .tar.gz and returns its TOP/PKG-INFO.
func (l Limits) readTar(packed *bufio.Reader, size int64) (*Info, []byte, error) {
	g, err := gzip.NewReader(packed)
	if err != nil {
		return nil, nil, invalid(RuleFraming, "the file is not a gzip archive: %v", err)
	}
	g.Multistream(false) // a second stream is trailing data
	unpacked := &countReader{r: g, limits: l, size: size}
	t := tar.NewReader(unpacked)
	var members tarMembers
	var pkgInfo []byte
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, tarError(err)
		}
		name, err := members.add(header, l)
		if err != nil {
			return nil, nil, err
		}
		if name == "" || name != members.top.name+"/PKG-INFO" {
			continue
		}
		if pkgInfo != nil {
			return nil, nil, invalid(RuleDuplicate, "the archive has two members named %.200q", name)
		}
		if pkgInfo, err = l.readTarMember(t, header); err != nil {
			return nil, nil, err
		}
	}
	if err := expectTarEnd(unpacked, packed); err != nil {
		return nil, nil, err
	}
	if err := members.checkLinks(); err != nil {
		return nil, nil, err
	}
	if pkgInfo == nil {
		return nil, nil, invalid(RuleMissing, "the archive has no PKG-INFO in its top directory; build it with a current build tool")
	}
	return &Info{Members: members.count, Unpacked: unpacked.n}, pkgInfo, nil
}

// tarError passes a broken rule through; all else means broken bytes, as the
// caller has looked for read errors already.
func tarError(err error) error {
	var broken *InvalidError
	if errors.As(err, &broken) {
		return err
	}
	return invalid(RuleFraming, "the archive is damaged: %v", err)
}

// expectTarEnd checks that after the last member come zeros and the end of the
// one gzip stream, and after that nothing.
func expectTarEnd(unpacked io.Reader, packed *bufio.Reader) error {
	block := make([]byte, 4096)
	for {
		n, err := unpacked.Read(block)
		if strings.Trim(string(block[:n]), "\x00") != "" {
			return invalid(RuleFraming, "the archive has data after its last member")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tarError(err)
		}
	}
	if err := expectEnd(packed); err != nil {
		return invalid(RuleFraming, "the archive has bytes after its end")
	}
	return nil
}

func (l Limits) readTarMember(t *tar.Reader, header *tar.Header) ([]byte, error) {
	if header.Typeflag != tar.TypeReg {
		return nil, invalid(RuleMember, "member %.200q is not a plain file", header.Name)
	}
	if header.Size > l.Metadata {
		return nil, invalid(RuleSize, "member %.200q is longer than %d bytes", header.Name, l.Metadata)
	}
	data := make([]byte, header.Size)
	if _, err := io.ReadFull(t, data); err != nil {
		return nil, tarError(err)
	}
	return data, nil
}

// tarMembers holds what has been seen of a tar, to judge the next member by.
type tarMembers struct {
	top   topDir
	count int
	bytes int64           // of names
	names []string        // in lower case: some file systems do not tell apart
	links map[string]bool // symbolic links among names
}

// add checks the kind, name and link target of a member. It returns the name
// without a leading "./", which is "" for the directory above the top one.
func (t *tarMembers) add(h *tar.Header, l Limits) (string, error) {
	if t.count++; t.count > l.Members {
		return "", invalid(RuleCount, "the archive has more than %d members", l.Members)
	}
	if t.bytes += int64(len(h.Name)); t.bytes > l.Directory {
		return "", invalid(RuleSize, "the names in the archive take more than %d bytes", l.Directory)
	}
	name := strings.TrimPrefix(h.Name, "./")
	if name == "" && h.Typeflag == tar.TypeDir {
		return "", nil
	}
	if err := checkPath(name); err != nil {
		return "", err
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", invalid(RuleMember, "member %.200q is a sparse file; build the archive without", name)
		}
	}
	path := name // what must lie below the top directory
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink:
	case tar.TypeDir:
		path = strings.TrimSuffix(name, "/") + "/"
	default:
		return "", invalid(RuleMember, "member %.200q is neither a file, a directory nor a link", name)
	}
	if err := t.top.add(path); err != nil {
		return "", err
	}
	key := strings.ToLower(strings.TrimSuffix(name, "/"))
	t.names = append(t.names, key)
	switch h.Typeflag {
	case tar.TypeSymlink:
		if t.links == nil {
			t.links = make(map[string]bool)
		}
		t.links[key] = true
		if !staysBelow(name, h.Linkname) {
			return "", invalid(RulePath, "link %.200q may lead out of the archive, to %.200q", name, h.Linkname)
		}
	case tar.TypeLink: // its target is named like a member
		target := strings.TrimPrefix(h.Linkname, "./")
		if checkPath(target) != nil || !strings.HasPrefix(target, t.top.name+"/") {
			return "", invalid(RulePath, "link %.200q may lead out of the archive, to %.200q", name, h.Linkname)
		}
	}
	return name, nil
}

// checkLinks refuses members that lie below a symbolic link. With that, the
// directory of every link is what its name says, and staysBelow can judge the
// target by its text.
func (t *tarMembers) checkLinks() error {
	if len(t.links) == 0 {
		return nil
	}
	for _, name := range t.names {
		for i := range len(name) {
			if name[i] == '/' && t.links[name[:i]] {
				return invalid(RulePath, "member %.200q lies below a link", name)
			}
		}
	}
	return nil
}

// staysBelow reports whether the symbolic link called name can only lead to
// something in its own top directory. Parts ".." may stand at the beginning of
// the target only: after a name that is itself a link, they would lead
// elsewhere than the text says.
func staysBelow(name, target string) bool {
	depth := strings.Count(name, "/") - 1 // directories between the top one and the link
	target = strings.TrimSuffix(target, "/")
	for strings.HasPrefix(target+"/", "../") {
		target = strings.TrimPrefix(strings.TrimPrefix(target, ".."), "/")
		depth--
	}
	if depth < 0 {
		return false
	}
	return target == "" || target == "." || checkPath(strings.TrimPrefix(target, "./")) == nil
}

// countReader counts what comes out of the decompressor and stops it at the
// bounds, so that a small file can not keep a server busy.
type countReader struct {
	r      io.Reader
	limits Limits
	size   int64 // of the archive
	n      int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if broken := c.limits.checkTotal(c.n, c.size); broken != nil {
		return 0, broken
	}
	return n, err
}
