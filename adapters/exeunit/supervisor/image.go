package supervisor

import (
	"archive/zip"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/transfer"
)

// program is one entry point of an image.
type program struct {
	ID   string // what a run calls
	Argv string // argv[0] in a package, "" = the word it was called by
	Path string
	SHA3 string // of the module, hex
}

// point is a directory that an image wants.
type point struct {
	Path     string
	ReadOnly bool
	Private  bool // out of reach for transfers
}

// image is what a deploy unpacked.
type image struct {
	Programs []program
	Points   []point
	Package  bool // a zip with a manifest, else one bare module
}

// defaultPoints are the volumes of a bare module that names none.
var defaultPoints = []point{{Path: "/golem/input"}, {Path: "/golem/output"}, {Path: "/golem/work"}}

// maxManifest bounds a package's manifest, maxEntries its entry points, and
// maxDirectory what is read of a package to know what is in it: a file can be
// little else than a list of empty files, and all of them are kept in memory.
const (
	maxManifest  = 1 << 20
	maxEntries   = 256
	maxDirectory = 8 << 20
)

// directory is a package while it is found out what is in it.
type directory struct {
	io.ReaderAt
	left int64 // that may be read; negative = any amount
}

var errDirectory = fmt.Errorf("%w: the zip package has too many files in it", exeunit.ErrImage)

func (d *directory) ReadAt(p []byte, off int64) (int, error) {
	if d.left < 0 {
		return d.ReaderAt.ReadAt(p, off)
	}
	if d.left < int64(len(p)) {
		return 0, errDirectory
	}
	d.left -= int64(len(p))
	return d.ReaderAt.ReadAt(p, off)
}

// openImage reads an image file: a zip package with a manifest, or one bare
// module. Modules of a package are unpacked into dir.
func openImage(file, ref, dir string) (image, error) {
	f, err := os.Open(file)
	if err != nil {
		return image{}, err
	}
	defer f.Close()
	head := make([]byte, 8)
	n, _ := io.ReadFull(f, head)
	if exeunit.IsZip(head[:n]) {
		return openPackage(f, dir)
	}
	if err := exeunit.CheckModule(head[:n]); err != nil {
		return image{}, err
	}
	sum, err := sha3Of(file)
	return image{Programs: []program{{ID: stem(ref), Path: file, SHA3: sum}}, Points: defaultPoints}, err
}

// stem is the name of a bare module: the last part of its URL without ending.
func stem(ref string) string {
	if r, err := transfer.ParseRef(ref); err == nil {
		ref = r.URL
	}
	if u, err := url.Parse(ref); err == nil && u.Path != "" {
		ref = u.Path
	}
	name := path.Base(ref)
	if s := strings.TrimSuffix(name, path.Ext(name)); s != "" && s != "/" {
		return s
	}
	return "main"
}

type manifest struct {
	Runtime     string `json:"runtime"`
	EntryPoints []struct {
		ID       string `json:"id"`
		WASMPath string `json:"wasm-path"`
	} `json:"entry-points"`
	MountPoints []map[string]string `json:"mount-points"`
}

func openPackage(f *os.File, dir string) (image, error) {
	info, err := f.Stat()
	if err != nil {
		return image{}, err
	}
	content := &directory{f, maxDirectory}
	z, err := zip.NewReader(content, info.Size())
	content.left = -1
	if errors.Is(err, errDirectory) {
		return image{}, err
	}
	if err != nil {
		return image{}, fmt.Errorf("%w: not a readable zip package: %w", exeunit.ErrImage, err)
	}
	m, err := readManifest(z)
	if err != nil {
		return image{}, err
	}
	img := image{Package: true}
	for _, mount := range m.MountPoints {
		p, err := mountPoint(mount)
		if err != nil {
			return image{}, err
		}
		img.Points = append(img.Points, p)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return image{}, err
	}
	room := int64(transfer.MaxImage)
	for i, e := range m.EntryPoints {
		to := filepath.Join(dir, fmt.Sprintf("%d.wasm", i))
		sum, err := unpack(z, e.WASMPath, to, &room)
		if err != nil {
			return image{}, fmt.Errorf("entry point %q: %w", e.ID, err)
		}
		img.Programs = append(img.Programs, program{ID: e.ID, Argv: e.WASMPath, Path: to, SHA3: sum})
	}
	return img, nil
}

func readManifest(z *zip.Reader) (m manifest, err error) {
	f, err := z.Open("manifest.json")
	if err != nil {
		return m, fmt.Errorf("%w: the zip package has no manifest.json at its root", exeunit.ErrImage)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("%w: manifest.json: %w", exeunit.ErrImage, err)
	case m.Runtime != "" && m.Runtime != "wasi":
		return m, fmt.Errorf("%w: it is for the runtime %q and not for wasi", exeunit.ErrImage, m.Runtime)
	case len(m.EntryPoints) == 0 || len(m.EntryPoints) > maxEntries:
		return m, fmt.Errorf("%w: the manifest names %d entry points, want 1 to %d", exeunit.ErrImage, len(m.EntryPoints), maxEntries)
	}
	return m, nil
}

func mountPoint(m map[string]string) (point, error) {
	for _, kind := range []string{"ro", "rw", "wo", "private"} {
		p, ok := m[kind]
		if !ok {
			continue
		}
		p, err := mountPath("/" + strings.TrimPrefix(p, "/"))
		return point{Path: p, ReadOnly: kind == "ro", Private: kind == "private"}, err
	}
	return point{}, fmt.Errorf("%w: a mount point of the manifest is none of ro, rw, wo, private", exeunit.ErrImage)
}

// mountPath checks the container path of a volume.
func mountPath(p string) (string, error) {
	clean := strings.TrimSuffix(p, "/")
	if clean != "" && (clean[0] != '/' || !fs.ValidPath(clean[1:])) || strings.ContainsRune(p, 0) || p == "" {
		return "", fmt.Errorf("volume %q: want an absolute path without empty, '.' or '..' parts", p)
	}
	if clean == "" {
		return "/", nil
	}
	return clean, nil
}

// unpack writes one module of a package to a file and gives its SHA3-256.
func unpack(z *zip.Reader, name, to string, room *int64) (string, error) {
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%w: wasm-path %q: parts may not be empty, '.' or '..'", exeunit.ErrImage, name)
	}
	in, err := z.Open(name)
	if err != nil {
		return "", fmt.Errorf("%w: %q is not in the package", exeunit.ErrImage, name)
	}
	defer in.Close() //nolint:errcheck // opened for reading
	_ = os.Remove(to)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return "", err
	}
	sum := sha3.New256()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, *room+1))
	if err = errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("%w: %w", exeunit.ErrImage, err)
	}
	if *room -= n; *room < 0 {
		return "", fmt.Errorf("%w: its modules have more than %d bytes", exeunit.ErrImage, transfer.MaxImage)
	}
	head := make([]byte, 8)
	f, err := os.Open(to)
	if err != nil {
		return "", err
	}
	defer f.Close()
	k, _ := io.ReadFull(f, head)
	return hex.EncodeToString(sum.Sum(nil)), exeunit.CheckModule(head[:k])
}

func sha3Of(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha3.New256()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// entry finds what a run means.
//
// In a package the entry point is the id of one of its programs. A bare module
// is run whatever the entry point is called: argv is the entry point and the
// arguments, so that one program may serve many names. Clients that can only
// send shell lines send /bin/sh -c "words"; the words are split as a shell
// would, without any of its other syntax, and then mean the same.
func (img image) entry(name string, args []string) (program, []string, error) {
	words := append([]string{name}, args...)
	if isShell(name) && len(args) == 2 && args[0] == "-c" && !img.has(name) {
		var err error
		if words, err = splitWords(args[1]); err != nil {
			return program{}, nil, err
		}
	}
	for _, p := range img.Programs {
		if p.ID == words[0] || p.ID == path.Base(words[0]) {
			if p.Argv != "" {
				words = append([]string{p.Argv}, words[1:]...)
			}
			return p, words, nil
		}
	}
	if !img.Package && len(img.Programs) == 1 {
		return img.Programs[0], words, nil
	}
	var known []string
	for _, p := range img.Programs {
		known = append(known, p.ID)
	}
	return program{}, nil, fmt.Errorf("entry point %q is not in the image; it has %s", words[0], strings.Join(known, ", "))
}

func (img image) has(id string) bool {
	return slices.ContainsFunc(img.Programs, func(p program) bool { return p.ID == id })
}

func isShell(name string) bool {
	switch name {
	case "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash", "sh", "bash":
		return true
	}
	return false
}

// splitWords splits a line into words with quotes and backslashes as a shell
// does. Anything that only a shell could do is refused.
func splitWords(line string) (words []string, err error) {
	var word strings.Builder
	open, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\' && c != '$' && c != '`':
			word.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case c == '\\' && i+1 < len(line):
			i++
			if quote == '"' && !strings.ContainsRune("\"\\$`", rune(line[i])) {
				word.WriteByte('\\')
			}
			word.WriteByte(line[i])
			open = true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' && strings.TrimSpace(line[i:]) == ""):
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		case strings.IndexByte("|&;<>()$`*?[]#~\n\\{}!", c) >= 0:
			return nil, fmt.Errorf("this runtime has no shell: %q at byte %d of %q cannot be carried out; quote it if it is meant as it stands", c, i, line)
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed in %q", line)
	}
	if open {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("an empty command line")
	}
	return words, nil
}
