package dist

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"example.com/bailiwick/internal/pypi"
)

const distInfoSuffix = ".dist-info"

func (l Limits) checkWheel(filename pypi.Filename, r io.ReaderAt, size int64) (*Info, error) {
	z, err := l.openZip(r, size)
	if err != nil {
		return nil, err
	}
	dir, err := findDistInfo(filename, z)
	if err != nil {
		return nil, err
	}
	core, err := readRequired(z, dir+"/METADATA", l.Metadata)
	if err != nil {
		return nil, err
	}
	metadata, err := ParseMetadata(core)
	if err != nil {
		return nil, err
	}
	if err := checkIdentity(filename, metadata); err != nil {
		return nil, err
	}
	wheel, err := readRequired(z, dir+"/WHEEL", l.Metadata)
	if err != nil {
		return nil, err
	}
	if err := checkWheelFile(wheel); err != nil {
		return nil, err
	}
	record, err := readRequired(z, dir+"/RECORD", l.Record)
	if err != nil {
		return nil, err
	}
	if err := checkRecord(z, dir, record); err != nil {
		return nil, err
	}
	return &Info{Metadata: metadata, CoreMetadata: core, Members: len(z.members), Unpacked: z.unpacked}, nil
}

// findDistInfo returns the one top directory that describes the wheel and
// checks that its name fits the file name.
func findDistInfo(filename pypi.Filename, z *zipArchive) (string, error) {
	dir := ""
	for i := range z.members {
		top, _, below := strings.Cut(z.members[i].name, "/")
		if !below || !strings.HasSuffix(top, distInfoSuffix) || top == dir {
			continue
		}
		if dir != "" {
			return "", invalid(RuleDistInfo, "the wheel has two .dist-info directories, %.200q and %.200q", dir, top)
		}
		dir = top
	}
	if dir == "" {
		return "", invalid(RuleDistInfo, "the wheel has no .dist-info directory; build it with a current build tool")
	}
	stem := strings.TrimSuffix(dir, distInfoSuffix)
	hyphen := max(strings.LastIndexByte(stem, '-'), 0)
	project, err := pypi.ParseProject(stem[:hyphen])
	if err != nil || project != filename.Project() {
		return "", invalid(RuleDistInfo, "directory %.200q is not that of project %q, which the file name states", dir, filename.Project())
	}
	version, err := pypi.ParseVersion(stem[hyphen+1:])
	if err != nil || version.Compare(filename.Version()) != 0 {
		return "", invalid(RuleDistInfo, "directory %.200q is not that of version %q, which the file name states", dir, filename.Version())
	}
	return dir, nil
}

func readRequired(z *zipArchive, name string, limit int64) ([]byte, error) {
	m := z.find(name)
	if m == nil {
		return nil, invalid(RuleMissing, "the archive has no member %.200q; build it with a current build tool", name)
	}
	return z.read(m, limit)
}

// checkWheelFile checks that installers know what to do with the wheel.
func checkWheelFile(data []byte) error {
	fields, err := parseHeader(data)
	if err != nil {
		return invalid(RuleWheelFile, "the file WHEEL is unusable: %v", err)
	}
	versions := fields["wheel-version"]
	if len(versions) != 1 || !strings.HasPrefix(versions[0], "1.") {
		return invalid(RuleWheelFile, "the file WHEEL does not state Wheel-Version 1.x")
	}
	if len(fields["tag"]) == 0 {
		return invalid(RuleWheelFile, "the file WHEEL has no Tag")
	}
	return nil
}

// checkRecord checks that RECORD lists every member once with a hash and, where
// it states one, the right size. The hashes are not computed: that is the
// installer's work, and would mean unpacking everything.
func checkRecord(z *zipArchive, dir string, record []byte) error {
	unlisted := make(map[string]int64, len(z.members))
	for i := range z.members {
		if m := &z.members[i]; !m.isDir() {
			unlisted[m.name] = m.unpacked
		}
	}
	rows := csv.NewReader(bytes.NewReader(record))
	rows.FieldsPerRecord = 3
	rows.ReuseRecord = true
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid(RuleRecord, "the file RECORD is unusable: %v", err)
		}
		path, hash, length := row[0], row[1], row[2]
		size, ok := unlisted[path]
		if !ok {
			return invalid(RuleRecord, "the file RECORD lists %.200q twice, or the wheel does not have it", path)
		}
		delete(unlisted, path)
		if mayLackHash(dir, path) {
			continue
		}
		if !isStrongHash(hash) {
			return invalid(RuleRecord, "the file RECORD has no sha256 (or stronger) hash of %.200q", path)
		}
		if length != "" && length != strconv.FormatInt(size, 10) {
			return invalid(RuleRecord, "the file RECORD states another size of %.200q than the wheel", path)
		}
	}
	for name := range unlisted {
		if !mayLackHash(dir, name) {
			return invalid(RuleRecord, "the file RECORD does not list %.200q, which the wheel has", name)
		}
	}
	return nil
}

// mayLackHash reports whether path is RECORD or a signature of it, which can
// not state hashes of themselves.
func mayLackHash(dir, path string) bool {
	name, ok := strings.CutPrefix(path, dir+"/RECORD")
	return ok && (name == "" || name == ".jws" || name == ".p7s")
}

func isStrongHash(s string) bool {
	algorithm, digest, ok := strings.Cut(s, "=")
	return ok && digest != "" && (algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512")
}

// CoreMetadata reads METADATA out of a wheel whose bytes are trusted to be those of a wheel that
// [Check] has passed, or whose METADATA the caller holds against a signed hash: nothing else about
// the archive is looked at. The result is at most the default limit long.
func CoreMetadata(r io.ReaderAt, size int64) ([]byte, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("opening the wheel: %w", err)
	}
	limit := DefaultLimits().Metadata
	for _, entry := range archive.File {
		folder, ok := strings.CutSuffix(entry.Name, ".dist-info/METADATA")
		if !ok || strings.Contains(folder, "/") {
			continue
		}
		body, err := entry.Open()
		if err != nil {
			return nil, fmt.Errorf("opening METADATA in the wheel: %w", err)
		}
		var data bytes.Buffer
		n, err := io.Copy(&data, io.LimitReader(body, limit+1))
		if err = errors.Join(err, body.Close()); err != nil {
			return nil, fmt.Errorf("reading METADATA in the wheel: %w", err)
		}
		if n > limit {
			return nil, fmt.Errorf("METADATA in the wheel is longer than %d bytes", limit)
		}
		return data.Bytes(), nil
	}
	return nil, errors.New("the wheel holds no METADATA")
}
