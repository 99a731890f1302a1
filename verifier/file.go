package verifier

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
)

const (
	maxFile = 32 << 20
	maxPart = 64 << 20
)

type attestation struct {
	Document  string `json:"document"`
	Signature []byte `json:"signature"`
}

type file struct {
	Agreement    string        `json:"agreement"`
	Attestations []attestation `json:"attestations"`
	Checkpoint   string        `json:"checkpoint"`
	Conflicts    []conflict    `json:"conflicts"`
	Cosigned     []cosigned    `json:"cosigned"`
	Events       []event       `json:"events"`
	Format       string        `json:"format"`
	Hashes       [][]byte      `json:"hashes"`
	Payments     []transfer    `json:"payments"`
	Side         string        `json:"side"`
	Signature    []byte        `json:"signature"`
}

type cosigned struct {
	Checkpoint  string `json:"checkpoint"`
	Consistency []int  `json:"consistency"`
}

type event struct {
	Bytes     []byte `json:"bytes"`
	Data      string `json:"data"`
	DataSalt  []byte `json:"dataSalt"`
	Header    []byte `json:"header"`
	Inclusion []int  `json:"inclusion"`
	Key       []byte `json:"key"`
	Meta      string `json:"meta"`
	MetaSalt  []byte `json:"metaSalt"`
}

type transfer struct {
	Chain       uint64   `json:"chain"`
	Header      []byte   `json:"header"`
	Index       uint64   `json:"index"`
	Receipt     [][]byte `json:"receipt"`
	Transaction [][]byte `json:"transaction"`
}

var errFile = errors.New("the file is not a whole dossier")

// open reads a container and refuses any spelling of its content but one.
func open(b []byte) (*file, error) {
	content, err := unpack(b)
	if err != nil || !plain(content) {
		return nil, errFile
	}
	f := new(file)
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if d.Decode(f) != nil || f.Format != "emet/dossier/1" || f.Side != "R" && f.Side != "P" || !bytes.Equal(f.canonical(f.Signature), content) {
		return nil, errFile
	}
	return f, f.lists()
}

// unpack reads both files of a container and returns the first, the content.
// The archive's comment is a hash of all that is before it.
func unpack(b []byte) (content []byte, err error) {
	if len(b) > maxFile || len(b) < 2*sha256.Size {
		return nil, errFile
	}
	archive, comment := b[:len(b)-2*sha256.Size], b[len(b)-2*sha256.Size:]
	sum := sha256.Sum256(archive)
	if string(comment) != hex.EncodeToString(sum[:]) || !brief(archive) {
		return nil, errFile
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.Comment) != len(comment) || len(z.File) != 2 || z.File[0].Name != "dossier.json" || z.File[1].Name != "index.html" {
		return nil, errFile
	}
	if content, err = readPart(z.File[0]); err != nil {
		return nil, err
	}
	_, err = readPart(z.File[1])
	return content, err
}

// brief says whether the archive ends in a short directory, right before its
// end record.
func brief(b []byte) bool {
	if len(b) < 22 {
		return false
	}
	end := len(b) - 22
	number := func(at int) (n int) {
		for i := 3; i >= 0; i-- {
			n = n<<8 | int(b[end+at+i])
		}
		return n
	}
	return bytes.HasPrefix(b[end:], []byte{'P', 'K', 5, 6}) && number(12) <= 1024 && number(12)+number(16) == end
}

// plain says whether the content has no more parts than a dossier may have:
// objects and lists, and what is separated by commas.
func plain(content []byte) bool {
	parts, commas, quoted, escaped := 0, 0, false, false
	for _, c := range content {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		default:
			quoted = c == '"'
			escaped = c == '\\'
			if c == '{' || c == '[' {
				parts++
			}
			if c == ',' {
				commas++
			}
		}
	}
	return parts <= 1<<18 && commas <= 1<<22
}

// readPart unpacks a file, as long as it is not too long.
func readPart(part *zip.File) ([]byte, error) {
	r, err := part.Open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxPart+1))
	if err == nil && len(text) > maxPart {
		err = errFile
	}
	return text, errors.Join(err, r.Close())
}

// lists checks that every index names a hash.
func (f *file) lists() error {
	all := make([][]int, 0, len(f.Events)+len(f.Cosigned))
	for _, e := range f.Events {
		all = append(all, e.Inclusion)
	}
	for _, c := range f.Cosigned {
		all = append(all, c.Consistency)
	}
	for _, h := range f.Hashes {
		if len(h) != sha256.Size {
			return errFile
		}
	}
	for _, list := range all {
		if len(list) > 128 {
			return errFile
		}
		for _, i := range list {
			if i < 0 || i >= len(f.Hashes) {
				return errFile
			}
		}
	}
	return nil
}

func (f *file) hashes(list []int) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = f.Hashes[list[i]]
	}
	return out
}

// canonical spells the content, with a signature or without.
func (f *file) canonical(signature []byte) []byte {
	w := new(writer)
	w.object(func(o *object) {
		o.text("agreement", f.Agreement)
		o.field("attestations", f.Attestations != nil, func() {
			list(w, f.Attestations, func(a attestation) {
				w.object(func(o *object) {
					o.text("document", a.Document)
					o.field("signature", true, func() { w.binary(a.Signature) })
				})
			})
		})
		o.text("checkpoint", f.Checkpoint)
		o.field("conflicts", f.Conflicts != nil, func() { list(w, f.Conflicts, func(c conflict) { w.object(c.fields) }) })
		o.field("cosigned", f.Cosigned != nil, func() {
			list(w, f.Cosigned, func(c cosigned) {
				w.object(func(o *object) { o.text("checkpoint", c.Checkpoint); o.indexes("consistency", c.Consistency) })
			})
		})
		o.field("events", true, func() { list(w, f.Events, func(e event) { w.object(e.fields) }) })
		o.text("format", f.Format)
		o.field("hashes", f.Hashes != nil, func() { list(w, f.Hashes, w.binary) })
		o.field("payments", f.Payments != nil, func() { list(w, f.Payments, func(t transfer) { w.object(t.fields) }) })
		o.text("side", f.Side)
		o.bytes("signature", signature)
	})
	return w.Bytes()
}

func (e event) fields(o *object) {
	o.bytes("bytes", e.Bytes)
	o.some("data", e.Data)
	o.bytes("dataSalt", e.DataSalt)
	o.field("header", true, func() { o.w.binary(e.Header) })
	o.indexes("inclusion", e.Inclusion)
	o.bytes("key", e.Key)
	o.some("meta", e.Meta)
	o.bytes("metaSalt", e.MetaSalt)
}

func (t transfer) fields(o *object) {
	o.number("chain", t.Chain)
	o.field("header", true, func() { o.w.binary(t.Header) })
	o.number("index", t.Index)
	o.field("receipt", true, func() { list(o.w, t.Receipt, o.w.binary) })
	o.field("transaction", true, func() { list(o.w, t.Transaction, o.w.binary) })
}
