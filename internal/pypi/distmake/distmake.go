// Package distmake builds small wheels and sdists for tests, demonstrations and
// load generators: valid, installable, and with knobs for what varies.
//
// Equal arguments give equal bytes. The wheels hold one importable module with
// a __version__; the sdists bring their own build backend, so that installing
// from one needs no other package. Archives that break a rule are put together
// from [Member] values with [Zip], [Tar] and [TarGz].
//
// Arguments are not checked: whoever asks for an impossible name gets it.
package distmake

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options are what varies between distributions. The zero value makes the
// smallest useful one.
type Options struct {
	Tag             string            // compatibility tag of a wheel; default "py3-none-any"
	Build           string            // build tag of a wheel, such as "1"
	Module          string            // name of the module; default: the project's with underscores
	Summary         string            // default "A package made for a test"
	RequiresPython  string            // Requires-Python, left out when ""
	Requires        []string          // Requires-Dist, one each
	Metadata        []string          // further lines for the header of the metadata
	Description     string            // text below the header of the metadata
	Scripts         map[string]string // console scripts of a wheel: command → "module:function"
	Files           map[string]string // further files by path: in a wheel from its root, in an sdist from its top directory
	Payload         int               // bytes of a further file that does not compress
	MetadataVersion string            // default "2.1"
}

// File is a distribution and the name it goes by.
type File struct {
	Name string
	Data []byte
}

// Wheel builds a wheel. Its module has __version__ and a function main that
// prints name and version.
func Wheel(name, version string, o Options) File {
	stem := Escape(name) + "-" + version
	info := stem + ".dist-info/"
	tag := o.Tag
	if tag == "" {
		tag = "py3-none-any"
	}
	var wheel strings.Builder
	wheel.WriteString("Wheel-Version: 1.0\nGenerator: distmake\nRoot-Is-Purelib: true\n")
	for _, t := range expand(tag) {
		wheel.WriteString("Tag: " + t + "\n")
	}
	if o.Build != "" {
		wheel.WriteString("Build: " + o.Build + "\n")
	}
	members := []Member{{Name: module(name, o) + ".py", Data: source(name, version)}}
	members = append(members, extras("", o)...)
	members = append(members,
		Member{Name: info + "METADATA", Data: metadata(name, version, o)},
		Member{Name: info + "WHEEL", Data: []byte(wheel.String())})
	if len(o.Scripts) > 0 {
		members = append(members, Member{Name: info + "entry_points.txt", Data: entryPoints(o)})
	}
	members = append(members, Member{Name: info + "RECORD", Data: Record(members, info+"RECORD")})

	filename := stem + "-" + tag + ".whl"
	if o.Build != "" {
		filename = stem + "-" + o.Build + "-" + tag + ".whl"
	}
	return File{filename, Zip(members...)}
}

// Sdist builds a .tar.gz source distribution that pip can build and install
// without any other package.
func Sdist(name, version string, o Options) File {
	stem := Escape(name) + "-" + version
	return File{stem + ".tar.gz", TarGz(sdistMembers(stem+"/", name, version, o)...)}
}

// ZipSdist builds the same as [Sdist] in the older form, .zip.
func ZipSdist(name, version string, o Options) File {
	stem := Escape(name) + "-" + version
	return File{stem + ".zip", Zip(sdistMembers(stem+"/", name, version, o)...)}
}

func sdistMembers(top, name, version string, o Options) []Member {
	wheel := o
	wheel.Files, wheel.Payload = nil, 0
	built := Wheel(name, version, wheel)
	members := []Member{
		{Name: top + "PKG-INFO", Data: metadata(name, version, o)},
		{Name: top + "pyproject.toml", Data: []byte(pyproject)},
		{Name: top + "backend.py", Data: fmt.Appendf(nil, backend, built.Name, base64.StdEncoding.EncodeToString(built.Data))},
		{Name: top + module(name, o) + ".py", Data: source(name, version)},
	}
	return append(members, extras(top, o)...)
}

const pyproject = `[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
`

// backend hands out a wheel that was built beforehand, which is all that the
// tests of an index need from a build.
const backend = `import base64
import os

NAME = "%s"
WHEEL = "%s"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(os.path.join(wheel_directory, NAME), "wb") as f:
        f.write(base64.b64decode(WHEEL))
    return NAME
`

// Escape spells a project name as file names do: normalised, with underscores.
func Escape(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "_")
}

func module(name string, o Options) string {
	if o.Module != "" {
		return o.Module
	}
	return Escape(name)
}

func source(name, version string) []byte {
	return fmt.Appendf(nil, "__version__ = %q\n\n\ndef main():\n    print(%q, __version__)\n", version, name)
}

func metadata(name, version string, o Options) []byte {
	var b strings.Builder
	field := func(name, value string) { b.WriteString(name + ": " + value + "\n") }
	field("Metadata-Version", or(o.MetadataVersion, "2.1"))
	field("Name", name)
	field("Version", version)
	field("Summary", or(o.Summary, "A package made for a test"))
	if o.RequiresPython != "" {
		field("Requires-Python", o.RequiresPython)
	}
	for _, r := range o.Requires {
		field("Requires-Dist", r)
	}
	for _, line := range o.Metadata {
		b.WriteString(line + "\n")
	}
	if o.Description != "" {
		field("Description-Content-Type", "text/markdown")
		b.WriteString("\n" + o.Description)
	}
	return []byte(b.String())
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func entryPoints(o Options) []byte {
	var b strings.Builder
	b.WriteString("[console_scripts]\n")
	for _, name := range sortedKeys(o.Scripts) {
		b.WriteString(name + " = " + o.Scripts[name] + "\n")
	}
	return []byte(b.String())
}

// extras are the further files of the options.
func extras(top string, o Options) []Member {
	var members []Member
	for _, path := range sortedKeys(o.Files) {
		members = append(members, Member{Name: top + path, Data: []byte(o.Files[path])})
	}
	if o.Payload > 0 {
		data := make([]byte, o.Payload)
		var seed [32]byte
		_, _ = rand.NewChaCha8(seed).Read(data) // never fails; the same bytes each time
		members = append(members, Member{Name: top + "payload.bin", Data: data})
	}
	return members
}

// expand multiplies out the sets of a tag.
func expand(tag string) []string {
	parts := strings.SplitN(tag, "-", 3)
	if len(parts) != 3 {
		return []string{tag}
	}
	var tags []string
	for python := range strings.SplitSeq(parts[0], ".") {
		for abi := range strings.SplitSeq(parts[1], ".") {
			for platform := range strings.SplitSeq(parts[2], ".") {
				tags = append(tags, python+"-"+abi+"-"+platform)
			}
		}
	}
	return tags
}

// Record lists members in the form of a wheel's RECORD, which is itself called
// name.
func Record(members []Member, name string) []byte {
	var b strings.Builder
	for _, m := range members {
		if strings.HasSuffix(m.Name, "/") {
			continue
		}
		sum := sha256.Sum256(m.Data)
		fmt.Fprintf(&b, "%s,sha256=%s,%d\n", csvField(m.Name), base64.RawURLEncoding.EncodeToString(sum[:]), len(m.Data))
	}
	b.WriteString(csvField(name) + ",,\n")
	return []byte(b.String())
}

func csvField(s string) string {
	if strings.ContainsAny(s, ",\"\n") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
