package wasm

import (
	"bytes"
	"errors"
	"fmt"
)

// Names of what a metered module exports beside its own.
const (
	fuelExport  = "emet:fuel"
	startExport = "emet:start" // the start function, when the module has one
)

// plenty is the fuel that a module is born with. It never runs dry: 2^62
// instructions take a century.
const plenty = int64(1) << 62

// ErrUnmeterable says that a module uses something that the rewriter does not
// know, so its fuel cannot be counted. It can still run.
var ErrUnmeterable = errors.New("module cannot be metered")

// Meter rewrites a module so that it counts what it executes: one unit of fuel
// for each instruction that is not mere structure (fuel/v1). It adds one
// exported global; a function entry or a loop head that finds the global
// negative traps. Indices do not shift, and custom sections are dropped. A
// start function becomes an export, so that it runs when fuel is set.
func Meter(module []byte) ([]byte, error) {
	s, err := split(module)
	if err != nil {
		return nil, err
	}
	fuel, err := s.fuelIndex()
	if err != nil {
		return nil, err
	}
	if err := s.addGlobal(); err != nil {
		return nil, err
	}
	if err := s.addExports(fuel); err != nil {
		return nil, err
	}
	if err := s.meterCode(fuel); err != nil {
		return nil, err
	}
	return s.join(), nil
}

const (
	secImport = 2
	secGlobal = 6
	secExport = 7
	secStart  = 8
	secCode   = 10
	secCount  = 12 // of data, stands before the code
	secData   = 11
)

var magic = []byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// sections are the bodies of a module's sections by id, nil when absent.
type sections [13][]byte

func split(module []byte) (*sections, error) {
	if !bytes.HasPrefix(module, magic) {
		return nil, fmt.Errorf("%w: not a WebAssembly 1 module", ErrUnmeterable)
	}
	var s sections
	r := &reader{b: module, at: len(magic)}
	for !r.end() {
		id, body := r.byte(), r.bytes(r.u32())
		switch {
		case r.err != nil:
		case id == 0:
		case int(id) >= len(s):
			return nil, fmt.Errorf("%w: section %d", ErrUnmeterable, id)
		case s[id] != nil:
			return nil, fmt.Errorf("%w: section %d comes twice", ErrUnmeterable, id)
		default:
			s[id] = body[:len(body):len(body)] // what is appended goes elsewhere
		}
	}
	return &s, r.err
}

func (s *sections) join() []byte {
	size := len(magic)
	for _, body := range s {
		size += len(body) + 6
	}
	out := append(make([]byte, 0, size), magic...)
	for _, id := range []int{1, secImport, 3, 4, 5, secGlobal, secExport, secStart, 9, secCount, secCode, secData} {
		if s[id] != nil {
			out = append(leb(append(out, byte(id)), uint64(len(s[id]))), s[id]...)
		}
	}
	return out
}

// fuelIndex is the index that an appended global gets.
func (s *sections) fuelIndex() (uint32, error) {
	r := &reader{b: s[secImport]}
	globals := uint32(0)
	if s[secImport] != nil {
		for range r.count() {
			r.bytes(r.u32())
			r.bytes(r.u32())
			switch kind := r.byte(); kind {
			case 0:
				r.u32()
			case 1:
				r.byte()
				r.limits()
			case 2:
				r.limits()
			case 3:
				r.byte()
				r.byte()
				globals++
			default:
				return 0, fmt.Errorf("%w: import of kind %d", ErrUnmeterable, kind)
			}
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	r = &reader{b: s[secGlobal]}
	if s[secGlobal] != nil {
		globals += r.u32()
	}
	return globals, r.err
}

// appendTo adds entries to a section that is a counted vector.
func (s *sections) appendTo(id int, n uint32, entries []byte) error {
	if s[id] == nil {
		s[id] = []byte{0}
	}
	r := &reader{b: s[id]}
	count := r.u32()
	if r.err != nil {
		return r.err
	}
	s[id] = append(append(leb(nil, uint64(count+n)), s[id][r.at:]...), entries...)
	return nil
}

func (s *sections) addGlobal() error {
	g := sleb([]byte{0x7e, 1, 0x42}, plenty) // i64, mutable, i64.const
	return s.appendTo(secGlobal, 1, append(g, 0x0b))
}

func (s *sections) addExports(fuel uint32) error {
	taken := &reader{b: s[secExport]}
	if s[secExport] != nil {
		for range taken.count() {
			if name := string(taken.bytes(taken.u32())); name == fuelExport || name == startExport {
				return fmt.Errorf("%w: it exports %q itself", ErrUnmeterable, name)
			}
			taken.byte()
			taken.u32()
		}
		if taken.err != nil {
			return taken.err
		}
	}
	entries, n := leb(append(exportName(fuelExport), 3), uint64(fuel)), uint32(1)
	if s[secStart] != nil {
		entries = append(append(entries, append(exportName(startExport), 0)...), s[secStart]...)
		s[secStart], n = nil, 2
	}
	return s.appendTo(secExport, n, entries)
}

func exportName(name string) []byte { return append(leb(nil, uint64(len(name))), name...) }

func (s *sections) meterCode(fuel uint32) error {
	if s[secCode] == nil {
		return nil
	}
	r := &reader{b: s[secCode]}
	n := r.count()
	out := leb(make([]byte, 0, len(s[secCode])*3/2), uint64(n))
	m := newMeter(fuel)
	for range n {
		body := r.bytes(r.u32())
		if r.err != nil {
			return r.err
		}
		metered, err := m.function(body)
		if err != nil {
			return err
		}
		out = append(leb(out, uint64(len(metered))), metered...)
	}
	s[secCode] = out
	return r.err
}

// meter rewrites functions, one after the other.
type meter struct {
	load, store []byte // global.get fuel, global.set fuel
	check       []byte
	out         []byte
}

func newMeter(fuel uint32) *meter {
	m := &meter{load: leb([]byte{0x23}, uint64(fuel)), store: leb([]byte{0x24}, uint64(fuel))}
	// fuel < 0 ? trap
	m.check = append(append([]byte{}, m.load...), 0x42, 0, 0x53, 0x04, 0x40, 0x00, 0x0b)
	return m
}

// function copies a body block by block, charging each block where it begins.
func (m *meter) function(body []byte) ([]byte, error) {
	r := &reader{b: body}
	for range r.count() {
		r.u32()
		r.byte()
	}
	if r.err != nil {
		return nil, r.err
	}
	m.out = append(m.out[:0], body[:r.at]...)
	for head := true; !r.end(); {
		from, cost := r.at, int64(0)
		var last byte
		for !r.end() && r.err == nil {
			last = r.byte()
			if err := r.immediates(last); err != nil {
				return nil, err
			}
			if !structural(last) {
				cost++
			}
			if endsBlock(last) {
				break
			}
		}
		if r.err != nil {
			return nil, r.err
		}
		m.charge(cost)
		if head {
			m.out = append(m.out, m.check...)
		}
		m.out = append(m.out, body[from:r.at]...)
		head = last == opLoop
	}
	return m.out, nil
}

func (m *meter) charge(cost int64) {
	if cost == 0 {
		return
	}
	m.out = append(m.out, m.load...)
	m.out = append(sleb(append(m.out, 0x42), cost), 0x7d) // i64.const cost, i64.sub
	m.out = append(m.out, m.store...)
}
