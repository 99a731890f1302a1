package wasm

import (
	"errors"
	"fmt"
)

const (
	opUnreachable = 0x00
	opNop         = 0x01
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opElse        = 0x05
	opEnd         = 0x0b
	opBr          = 0x0c
	opBrIf        = 0x0d
	opBrTable     = 0x0e
	opReturn      = 0x0f
	opSelectT     = 0x1c
)

// structural says whether an instruction costs nothing since it does nothing.
func structural(op byte) bool {
	return op == opNop || op == opBlock || op == opLoop || op == opElse || op == opEnd
}

// endsBlock says whether control may leave or arrive behind an instruction.
func endsBlock(op byte) bool {
	switch op {
	case opUnreachable, opLoop, opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn:
		return true
	}
	return false
}

var errShort = errors.New("the module breaks off or a number in it is too long")

// reader walks over a module's bytes. After an error it stands at the end.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) end() bool { return r.at >= len(r.b) }

func (r *reader) fail() {
	if r.err == nil {
		r.err = errShort
	}
	r.at = len(r.b)
}

func (r *reader) byte() byte {
	if r.end() {
		r.fail()
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail()
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	n := r.leb(5)
	if n > 1<<32-1 {
		r.fail()
		return 0
	}
	return uint32(n)
}

// count reads a number of entries, each of at least one byte.
func (r *reader) count() uint32 {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail()
		return 0
	}
	return n
}

// leb reads the groups of a LEB128 number of at most max bytes.
func (r *reader) leb(max int) (n uint64) {
	for i := range max {
		c := r.byte()
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n
		}
	}
	r.fail()
	return 0
}

func (r *reader) limits() {
	flags := r.byte()
	r.leb(10)
	if flags&1 != 0 {
		r.leb(10)
	}
}

// immediates steps over what follows an opcode.
func (r *reader) immediates(op byte) error {
	switch {
	case op == opBlock || op == opLoop || op == opIf:
		r.leb(5)
	case op == opBr || op == opBrIf || op == 0x10: // call
		r.u32()
	case op == opBrTable:
		for range uint64(r.count()) + 1 {
			r.u32()
		}
	case op == 0x11: // call_indirect
		r.u32()
		r.u32()
	case op == opUnreachable, op == opNop, op == opElse, op == opEnd, op == opReturn, op == 0x1a, op == 0x1b:
	case op == opSelectT:
		r.bytes(r.u32())
	case op >= 0x20 && op <= 0x26: // local, global, table
		r.u32()
	case op >= 0x28 && op <= 0x3e: // load, store
		r.memarg()
	case op == 0x3f || op == 0x40: // memory.size, memory.grow
		r.u32()
	case op == 0x41:
		r.leb(5)
	case op == 0x42:
		r.leb(10)
	case op == 0x43:
		r.bytes(4)
	case op == 0x44:
		r.bytes(8)
	case op >= 0x45 && op <= 0xc4: // comparisons, arithmetic, conversions
	case op == 0xd0: // ref.null
		r.byte()
	case op == 0xd1:
	case op == 0xd2: // ref.func
		r.u32()
	case op == 0xfc:
		return r.bulk()
	case op == 0xfd:
		return r.vector()
	default:
		return fmt.Errorf("%w: instruction %#02x", ErrUnmeterable, op)
	}
	return r.err
}

func (r *reader) memarg() {
	if r.u32() >= 64 {
		r.fail() // the bit of a second memory
	}
	r.leb(10)
}

func (r *reader) bulk() error {
	switch op := r.u32(); {
	case op <= 7: // saturating conversions
	case op == 8, op == 10, op == 12, op == 14:
		r.u32()
		r.u32()
	case op == 9, op == 11, op == 13, op >= 15 && op <= 17:
		r.u32()
	default:
		return fmt.Errorf("%w: instruction 0xfc %d", ErrUnmeterable, op)
	}
	return r.err
}

func (r *reader) vector() error {
	switch op := r.u32(); {
	case op <= 11 || op == 92 || op == 93:
		r.memarg()
	case op == 12 || op == 13: // v128.const, i8x16.shuffle
		r.bytes(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91:
		r.memarg()
		r.byte()
	case op <= 255:
	default:
		return fmt.Errorf("%w: instruction 0xfd %d", ErrUnmeterable, op)
	}
	return r.err
}

// leb appends an unsigned number, sleb a signed one.
func leb(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func sleb(b []byte, n int64) []byte {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
