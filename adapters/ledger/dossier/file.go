package dossier

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/peer"
)

// Format names the form of a [Dossier].
const Format = "emet/dossier/1"

// Limits of a container, in bytes.
const (
	MaxBytes    = 32 << 20
	maxUnpacked = 64 << 20
	sealDigits  = 2 * sha256.Size
)

// The files of a container.
const (
	contentName = "dossier.json"
	pageName    = "index.html"
)

// ErrMalformed says that bytes are no dossier.
var ErrMalformed = errors.New("not a whole dossier")

// Dossier is the content of the file dossier.json. Fields are in the order of
// the canonical JSON.
type Dossier struct {
	Agreement    string            `json:"agreement"`
	Attestations []peer.Delegation `json:"attestations,omitzero"`
	Checkpoint   string            `json:"checkpoint"`
	Conflicts    []Conflict        `json:"conflicts,omitzero"`
	Cosigned     []Cosigned        `json:"cosigned,omitzero"`
	Events       []Event           `json:"events"`
	Format       string            `json:"format"`
	Hashes       [][]byte          `json:"hashes,omitzero"`
	Payments     []Transfer        `json:"payments,omitzero"`
	Side         string            `json:"side"` // of the owner of the log
	// Signature is the owner's, by the key of the log, over all of the above.
	Signature []byte `json:"signature,omitzero"`
}

// signedText is what the owner signs.
func (d Dossier) signedText() ([]byte, error) {
	d.Signature = nil
	content, err := es.CanonicalJSON(d)
	sum := sha256.Sum256(append([]byte(Format+"\x00"), content...))
	return sum[:], err
}

// Cosigned is a checkpoint of the same log that the other party cosigned.
type Cosigned struct {
	Checkpoint  string `json:"checkpoint"`
	Consistency []int  `json:"consistency,omitzero"` // indexes into Hashes
}

// Event is one event of the log. Content without its salt is withheld.
type Event struct {
	Bytes     []byte `json:"bytes,omitzero"` // sealed content
	Data      string `json:"data,omitzero"`  // open content, JSON
	DataSalt  []byte `json:"dataSalt,omitzero"`
	Header    []byte `json:"header"`
	Inclusion []int  `json:"inclusion,omitzero"` // indexes into Hashes
	Key       []byte `json:"key,omitzero"`       // opens Bytes
	Meta      string `json:"meta,omitzero"`
	MetaSalt  []byte `json:"metaSalt,omitzero"`
}

// Transfer is a transaction with its receipt, as a block's header commits to
// them. Nodes are RLP, from the root of a trie on.
type Transfer struct {
	Chain       uint64   `json:"chain"`
	Header      []byte   `json:"header"`
	Index       uint64   `json:"index"`
	Receipt     [][]byte `json:"receipt"`
	Transaction [][]byte `json:"transaction"`
}

// Encode writes the container. The same dossier gives the same bytes with the
// same build.
func (d Dossier) Encode() ([]byte, error) {
	d.Format = Format
	content, err := es.CanonicalJSON(d)
	if err != nil {
		return nil, err
	}
	page, err := d.page()
	if err != nil {
		return nil, err
	}
	return seal(content, page)
}

// seal packs both files and puts the hash of all before it at the end.
func seal(content, page []byte) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return deflate(out), nil })
	for _, f := range []struct {
		name    string
		content []byte
	}{{contentName, content}, {pageName, page}} {
		part, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate})
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.SetComment(string(bytes.Repeat([]byte{'0'}, sealDigits))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out := b.Bytes()
	body := out[:len(out)-sealDigits]
	sum := sha256.Sum256(body)
	return hex.AppendEncode(body, sum[:]), nil
}

// compressors are large and can be used again.
var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic(err) // the level is none
	}
	return w
}}

// compressor goes back when it is closed.
type compressor struct{ *flate.Writer }

func deflate(out io.Writer) io.WriteCloser {
	w, _ := compressors.Get().(*flate.Writer) // nothing else is there
	w.Reset(out)
	return compressor{w}
}

func (c compressor) Close() error {
	err := c.Writer.Close()
	compressors.Put(c.Writer)
	return err
}

// Parse reads a container. It refuses all but the one spelling of its content.
func Parse(b []byte) (Dossier, error) {
	d, _, err := parse(b)
	return d, err
}

func parse(b []byte) (d Dossier, page []byte, err error) {
	bad := func(format string, args ...any) (Dossier, []byte, error) {
		return Dossier{}, nil, fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
	}
	if len(b) > MaxBytes || len(b) < sealDigits {
		return bad("it has %d bytes, at most %d", len(b), MaxBytes)
	}
	body, digits := b[:len(b)-sealDigits], b[len(b)-sealDigits:]
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != string(digits) {
		return bad("its bytes are not those that were packed")
	}
	if err := directory(body); err != nil {
		return bad("%w", err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return bad("%w", err)
	}
	if len(z.File) != 2 || z.File[0].Name != contentName || z.File[1].Name != pageName || z.Comment != string(digits) {
		return bad("want the files %s and %s", contentName, pageName)
	}
	content, err := unpack(z.File[0])
	if err != nil {
		return bad("%w", err)
	}
	if page, err = unpack(z.File[1]); err != nil {
		return bad("%w", err)
	}
	if d, err = read(content); err != nil {
		return bad("%w", err)
	}
	return d, page, nil
}

// What is at the end of a container before its comment, and how long the list
// of its files may be.
const (
	endBytes       = 22
	maxDirectory   = 1 << 10
	directorySize  = 12 // within the end
	directoryBegin = 16
)

// directory refuses long lists of files before they are read.
func directory(body []byte) error {
	if len(body) < endBytes {
		return errors.New("it is no archive")
	}
	at := len(body) - endBytes
	end := body[at:]
	size, begin := binary.LittleEndian.Uint32(end[directorySize:]), binary.LittleEndian.Uint32(end[directoryBegin:])
	if string(end[:4]) != "PK\x05\x06" || size > maxDirectory || uint64(begin)+uint64(size) != uint64(at) {
		return errors.New("its list of files is not that of a dossier")
	}
	return nil
}

// What a dossier may consist of; no tree has longer proofs.
const (
	maxObjects = 1 << 18
	maxItems   = 1 << 22
	maxProof   = 128
)

// modest refuses content that would take far more memory than bytes.
func modest(content []byte) error {
	objects, items, text := 0, 0, false
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			objects++
		case c == ',':
			items++
		}
	}
	if objects > maxObjects || items > maxItems {
		return fmt.Errorf("it has %d parts with %d items", objects, items)
	}
	return nil
}

func unpack(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err == nil && len(b) > maxUnpacked {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name, maxUnpacked)
	}
	return b, err
}

func read(content []byte) (d Dossier, err error) {
	if err := modest(content); err != nil {
		return d, err
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, err
	}
	if d.Format != Format {
		return d, fmt.Errorf("format %q, want %q", d.Format, Format)
	}
	if d.Side != "R" && d.Side != "P" {
		return d, fmt.Errorf("side %q, want R or P", d.Side)
	}
	again, err := es.CanonicalJSON(d)
	if err != nil || !bytes.Equal(again, content) {
		return d, errors.Join(errors.New("its JSON is not canonical"), err)
	}
	return d, d.indexes()
}

// indexes checks that hash lists name hashes.
func (d Dossier) indexes() error {
	for _, h := range d.Hashes {
		if len(h) != sha256.Size {
			return fmt.Errorf("a hash of %d bytes", len(h))
		}
	}
	check := func(list []int) error {
		if len(list) > maxProof {
			return fmt.Errorf("a proof of %d hashes", len(list))
		}
		for _, i := range list {
			if i < 0 || i >= len(d.Hashes) {
				return fmt.Errorf("there is no hash %d", i)
			}
		}
		return nil
	}
	for _, e := range d.Events {
		if err := check(e.Inclusion); err != nil {
			return err
		}
	}
	for _, c := range d.Cosigned {
		if err := check(c.Consistency); err != nil {
			return err
		}
	}
	return nil
}

// proof is the hashes of a list.
func (d Dossier) proof(list []int) [][]byte {
	out := make([][]byte, len(list))
	for i, n := range list {
		out[i] = d.Hashes[n]
	}
	return out
}
