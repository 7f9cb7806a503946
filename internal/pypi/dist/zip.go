package dist

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// A zip says everything twice, in its directory and before each member, and
// programs differ in which they believe. archive/zip believes the directory
// and does not show the rest, so this file reads both and insists that they
// agree. Names of fields follow PKWARE's APPNOTE.TXT.

const (
	endSignature     = 0x06054b50
	centralSignature = 0x02014b50
	localSignature   = 0x04034b50

	endLen     = 22
	centralLen = 46
	localLen   = 30

	methodStored  = 0
	methodDeflate = 8

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagUTF8       = 1 << 11
	flagsKnown     = flagUTF8 | 1<<1 | 1<<2 // bits 1 and 2 tell the effort spent on deflate

	extraZip64       = 0x0001
	extraUnicodePath = 0x7075 // a second name for the member

	creatorUnix  = 3
	modeTypeMask = 0o170000
	modeRegular  = 0o100000
	modeDir      = 0o040000
)

// zipArchive is a zip file whose framing was checked.
type zipArchive struct {
	r        io.ReaderAt
	members  []zipMember // in the order of their bytes
	unpacked int64
}

type zipMember struct {
	name     string
	flags    uint16
	method   uint16
	crc      uint32
	packed   int64
	unpacked int64
	offset   int64 // of the local header
	data     int64 // offset of the packed bytes
}

func (m *zipMember) isDir() bool { return strings.HasSuffix(m.name, "/") }

// openZip checks the framing, names and sizes of a zip without unpacking anything.
func (l Limits) openZip(r io.ReaderAt, size int64) (*zipArchive, error) {
	directory, count, offset, err := l.readDirectory(r, size)
	if err != nil {
		return nil, err
	}
	z := &zipArchive{r: r}
	names := make(map[string]bool)
	for range count {
		m, rest, err := parseCentral(directory)
		if err != nil {
			return nil, err
		}
		directory = rest
		if err := checkPath(m.name); err != nil {
			return nil, err
		}
		key := strings.TrimSuffix(m.name, "/")
		if names[key] {
			return nil, invalid(RuleDuplicate, "the archive has two members named %.200q", m.name)
		}
		names[key] = true
		z.members = append(z.members, m)
		z.unpacked += m.unpacked // at most 2^16 times 2^32
	}
	if len(directory) > 0 {
		return nil, invalid(RuleFraming, "the zip directory has bytes after its last entry")
	}
	if err := l.checkTotal(z.unpacked, size); err != nil {
		return nil, err
	}
	return z, z.checkLocals(offset)
}

// readDirectory finds the directory through the record at the very end of the
// file: no comment, no 64-bit extension, nothing in between.
func (l Limits) readDirectory(r io.ReaderAt, size int64) (directory []byte, count int, offset int64, err error) {
	end := make([]byte, endLen)
	if size < endLen {
		return nil, 0, 0, invalid(RuleFraming, "the file is too short to be a zip archive")
	}
	if err := readAt(r, end, size-endLen); err != nil {
		return nil, 0, 0, err
	}
	le := binary.LittleEndian
	if le.Uint32(end) != endSignature || le.Uint16(end[20:]) != 0 {
		return nil, 0, 0, invalid(RuleFraming, "the file is not a zip archive, or has a comment or other bytes after it")
	}
	count = int(le.Uint16(end[10:]))
	length, offset := int64(le.Uint32(end[12:])), int64(le.Uint32(end[16:]))
	switch {
	case le.Uint32(end[4:]) != 0 || int(le.Uint16(end[8:])) != count:
		return nil, 0, 0, invalid(RuleFraming, "the zip archive is split over several files")
	case count > l.Members || count == 0xffff:
		return nil, 0, 0, invalid(RuleCount, "the archive has more than %d members", l.Members)
	case count == 0:
		return nil, 0, 0, invalid(RuleFraming, "the zip archive has no members")
	case length > l.Directory:
		return nil, 0, 0, invalid(RuleSize, "the zip directory takes more than %d bytes", l.Directory)
	case offset+length != size-endLen:
		return nil, 0, 0, invalid(RuleFraming, "the zip directory does not end where the end record says; bytes were put before or into the archive")
	}
	directory = make([]byte, length)
	return directory, count, offset, readAt(r, directory, offset)
}

// parseCentral reads one entry of the directory.
func parseCentral(b []byte) (m zipMember, rest []byte, err error) {
	le := binary.LittleEndian
	if len(b) < centralLen || le.Uint32(b) != centralSignature {
		return m, nil, invalid(RuleFraming, "the zip directory ends early or holds something else than entries")
	}
	nameLen, extraLen, commentLen := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	if len(b) < centralLen+nameLen+extraLen+commentLen {
		return m, nil, invalid(RuleFraming, "the zip directory ends inside an entry")
	}
	m = zipMember{
		name:     string(b[centralLen : centralLen+nameLen]),
		flags:    le.Uint16(b[8:]),
		method:   le.Uint16(b[10:]),
		crc:      le.Uint32(b[16:]),
		packed:   int64(le.Uint32(b[20:])),
		unpacked: int64(le.Uint32(b[24:])),
		offset:   int64(le.Uint32(b[42:])),
	}
	creator, mode := b[5], le.Uint32(b[38:])>>16&modeTypeMask
	extra := b[centralLen+nameLen : centralLen+nameLen+extraLen]
	switch {
	case m.flags&flagEncrypted != 0:
		return m, nil, invalid(RuleMember, "member %.200q is encrypted", m.name)
	case m.flags&flagDescriptor != 0:
		return m, nil, invalid(RuleFraming, "member %.200q has its size after its data; write the archive to a file, not to a pipe", m.name)
	case m.flags&^flagsKnown != 0:
		return m, nil, invalid(RuleFraming, "member %.200q has unknown flags %#x", m.name, m.flags)
	case m.method != methodStored && m.method != methodDeflate:
		return m, nil, invalid(RuleMethod, "member %.200q has compression method %d; use stored or deflate", m.name, m.method)
	case commentLen != 0 || le.Uint16(b[34:]) != 0:
		return m, nil, invalid(RuleFraming, "member %.200q has a comment or lies in another file", m.name)
	case m.packed == 0xffffffff || m.unpacked == 0xffffffff || m.offset == 0xffffffff:
		return m, nil, invalid(RuleSize, "member %.200q needs the 64-bit extension of zip; archives of 4 GiB are too large", m.name)
	case m.method == methodStored && m.packed != m.unpacked, m.isDir() && m.unpacked != 0:
		return m, nil, invalid(RuleFraming, "member %.200q contradicts itself about its size", m.name)
	case creator == creatorUnix && mode != 0 && mode != modeRegular && mode != modeDir:
		return m, nil, invalid(RuleMember, "member %.200q is a link or a special file", m.name)
	}
	if _, err := checkExtra(m.name, extra, false); err != nil {
		return m, nil, err
	}
	if m.flags&flagUTF8 == 0 && strings.IndexFunc(m.name, func(r rune) bool { return r > '~' }) >= 0 {
		return m, nil, invalid(RulePath, "member name %.200q is not ASCII and not marked as UTF-8", m.name)
	}
	return m, b[centralLen+nameLen+extraLen+commentLen:], nil
}

// checkExtra walks the extra fields. It returns the 64-bit sizes, which a local
// header may have although it does not need them: writers reserve the room
// before they know the size.
func checkExtra(name string, extra []byte, local bool) (zip64 []byte, err error) {
	le := binary.LittleEndian
	for len(extra) > 0 {
		if len(extra) < 4 || len(extra) < 4+int(le.Uint16(extra[2:])) {
			return nil, invalid(RuleFraming, "member %.200q has a broken extra field", name)
		}
		id, value := le.Uint16(extra), extra[4:4+int(le.Uint16(extra[2:]))]
		extra = extra[4+len(value):]
		switch id {
		case extraUnicodePath:
			return nil, invalid(RuleFraming, "member %.200q has a second name", name)
		case extraZip64:
			if !local || zip64 != nil || len(value) != 16 {
				return nil, invalid(RuleFraming, "member %.200q has 64-bit sizes that it does not need", name)
			}
			zip64 = value
		}
	}
	return zip64, nil
}

// checkLocals checks that the local headers say what the directory says and
// that the members fill the file up to the directory without gap or overlap.
func (z *zipArchive) checkLocals(directory int64) error {
	slices.SortFunc(z.members, func(a, b zipMember) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return +1
		}
		return 0
	})
	next := int64(0)
	for i := range z.members {
		m := &z.members[i]
		if m.offset != next || next+localLen+int64(len(m.name)) > directory {
			return invalid(RuleFraming, "there is a gap before member %.200q, or it overlaps another", m.name)
		}
		if err := z.checkLocal(m, directory); err != nil {
			return err
		}
		next = m.data + m.packed
	}
	if next != directory {
		return invalid(RuleFraming, "the members of the zip archive do not end where its directory begins")
	}
	return nil
}

func (z *zipArchive) checkLocal(m *zipMember, directory int64) error {
	header := make([]byte, localLen+len(m.name))
	if err := readAt(z.r, header, m.offset); err != nil {
		return err
	}
	le := binary.LittleEndian
	nameLen, extraLen := int(le.Uint16(header[26:])), int(le.Uint16(header[28:]))
	if le.Uint32(header) != localSignature || nameLen != len(m.name) || string(header[localLen:]) != m.name {
		return invalid(RuleFraming, "member %.200q has another name in its own header", m.name)
	}
	m.data = m.offset + int64(len(header)+extraLen)
	if m.data > directory {
		return invalid(RuleFraming, "member %.200q reaches into the zip directory", m.name)
	}
	extra := make([]byte, extraLen)
	if err := readAt(z.r, extra, m.data-int64(extraLen)); err != nil {
		return err
	}
	zip64, err := checkExtra(m.name, extra, true)
	if err != nil {
		return err
	}
	packed, unpacked := int64(le.Uint32(header[18:])), int64(le.Uint32(header[22:]))
	if zip64 != nil && packed == 0xffffffff && unpacked == 0xffffffff {
		if le.Uint64(zip64) != uint64(m.unpacked) || le.Uint64(zip64[8:]) != uint64(m.packed) {
			packed = -1
		} else {
			packed, unpacked = m.packed, m.unpacked
		}
	}
	if le.Uint16(header[6:]) != m.flags || le.Uint16(header[8:]) != m.method || le.Uint32(header[14:]) != m.crc ||
		packed != m.packed || unpacked != m.unpacked {
		return invalid(RuleFraming, "member %.200q has another size, checksum or method in its own header", m.name)
	}
	return nil
}

// find returns the member of that name, or nil.
func (z *zipArchive) find(name string) *zipMember {
	i := slices.IndexFunc(z.members, func(m zipMember) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &z.members[i]
}

// read unpacks a member of at most limit bytes.
func (z *zipArchive) read(m *zipMember, limit int64) ([]byte, error) {
	if m.unpacked > limit {
		return nil, invalid(RuleSize, "member %.200q is longer than %d bytes", m.name, limit)
	}
	source := &source{r: io.NewSectionReader(z.r, m.data, m.packed)}
	packed := bufio.NewReader(source) // an io.ByteReader, so that flate takes no byte too many
	var unpacked io.Reader = packed
	if m.method == methodDeflate {
		unpacked = flate.NewReader(packed)
	}
	data := make([]byte, m.unpacked)
	_, err := io.ReadFull(unpacked, data)
	if err == nil {
		err = expectEnd(unpacked)
	}
	if err == nil {
		err = expectEnd(packed)
	}
	if source.err != nil {
		return nil, source.err
	}
	if err != nil || crc32.ChecksumIEEE(data) != m.crc {
		return nil, invalid(RuleFraming, "member %.200q is damaged", m.name)
	}
	return data, nil
}

var errMore = errors.New("more bytes than stated")

func expectEnd(r io.Reader) error {
	var one [1]byte
	switch n, err := io.ReadFull(r, one[:]); {
	case n > 0:
		return errMore
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// source remembers the error of a reader, so that a broken disk is not taken
// for a broken file by whoever decodes the bytes.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = fmt.Errorf("reading the distribution: %w", err)
	}
	return n, err
}

// readAt fills b. The caller has checked that the bytes lie inside the file.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	if n, err := r.ReadAt(b, offset); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading the distribution: %w", err)
	}
	return nil
}

// checkPath admits the names that stay below the directory they are unpacked
// in, on every system.
func checkPath(name string) error {
	fail := func(why string) error {
		return invalid(RulePath, "member name %.200q %s", name, why)
	}
	switch {
	case len(name) > maxPath:
		return fail("is too long")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return fail("holds a control character, a backslash or bytes that are not UTF-8")
	case len(name) > 1 && name[1] == ':':
		return fail("begins with a drive letter")
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fail("is absolute or has an empty, \".\" or \"..\" part")
		}
	}
	return nil
}

// maxPath is the longest member name in bytes, that of a path on Linux.
const maxPath = 4096
