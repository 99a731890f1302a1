package props

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Why a constraint cannot be read.
var (
	ErrParse     = errors.New("Parsing error")                    //nolint:staticcheck // clients know the text
	ErrReference = errors.New("Error parsing property reference") //nolint:staticcheck // clients know the text
)

type op uint8

const (
	opAnd op = iota
	opOr
	opNot
	opPresent
	opEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

var opText = [...]string{opEqual: "=", opLess: "<", opLessEqual: "<=", opGreater: ">", opGreaterEqual: ">="}

// Expr is a constraint that was read. It is never changed.
type Expr struct {
	op    op
	sub   []*Expr
	ref   ref
	value string
	match *regexp.Regexp // for a value with '*' that is a pattern
	ops   int            // about the instructions of match
	heavy bool           // the pattern is beyond our bounds: the result is undefined
}

// ref names a property: name, aspect and type.
type ref struct {
	name, aspect string
	hasAspect    bool
	typ          byte // 0, 'd', 'v' or 't'
}

func (r ref) String() string {
	if r.hasAspect {
		return r.name + "[" + r.aspect + "]"
	}
	return r.name
}

// Parse reads a constraint. What follows the first complete filter is ignored,
// as the whole network does. It fails with [ErrParse], [ErrReference] or
// [ErrTooLong].
func Parse(text string) (*Expr, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(text), MaxBytes)
	}
	p := &parser{text: text}
	e, ok := p.filter(0)
	switch {
	case p.bounds != "":
		return nil, fmt.Errorf("%w: %s", ErrParse, p.bounds)
	case !ok:
		return nil, fmt.Errorf("%w: Alternative (at byte %d)", ErrParse, p.deepest)
	case p.badRef != nil:
		return nil, p.badRef
	}
	return e, nil
}

type parser struct {
	text    string
	pos     int
	deepest int // furthest byte that was understood
	nodes   int
	ops     int    // instructions of all patterns
	bounds  string // which bound was hit
	badRef  error
}

func (p *parser) skip() {
	for p.pos < len(p.text) && strings.IndexByte(white, p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	p.deepest = max(p.deepest, p.pos)
	return true
}

// filter reads "()" or ( content ), white space around the latter included.
func (p *parser) filter(depth int) (*Expr, bool) {
	if p.bounds != "" {
		return nil, false
	}
	if depth > MaxDepth {
		p.bounds = fmt.Sprintf("nested deeper than %d", MaxDepth)
		return nil, false
	}
	if p.nodes++; p.nodes > MaxNodes {
		p.bounds = fmt.Sprintf("more than %d parts", MaxNodes)
		return nil, false
	}
	if p.take("()") {
		return &Expr{op: opAnd}, true
	}
	p.skip()
	if !p.take("(") {
		return nil, false
	}
	p.skip()
	e, ok := p.content(depth)
	if !ok {
		return nil, false
	}
	p.skip()
	if !p.take(")") {
		return nil, false
	}
	p.skip()
	return e, true
}

// content tries the alternatives in order and stays with the first that fits.
func (p *parser) content(depth int) (*Expr, bool) {
	start := p.pos
	for _, alternative := range []func(int) (*Expr, bool){p.list, p.not, p.comparison} {
		if e, ok := alternative(depth); ok || p.bounds != "" {
			return e, ok
		}
		p.pos = start
	}
	return nil, false
}

// list reads & or | and any number of filters.
func (p *parser) list(depth int) (*Expr, bool) {
	e := &Expr{op: opAnd}
	if !p.take("&") {
		if !p.take("|") {
			return nil, false
		}
		e.op = opOr
	}
	p.skip()
	for {
		before := p.pos
		sub, ok := p.filter(depth + 1)
		if !ok {
			p.pos = before
			p.skip()
			return e, p.bounds == ""
		}
		e.sub = append(e.sub, sub)
	}
}

func (p *parser) not(depth int) (*Expr, bool) {
	if !p.take("!") {
		return nil, false
	}
	p.skip()
	sub, ok := p.filter(depth + 1)
	if !ok {
		return nil, false
	}
	return &Expr{op: opNot, sub: []*Expr{sub}}, true
}

// comparison reads attr=* or attr op value.
func (p *parser) comparison(int) (*Expr, bool) {
	n := strings.IndexAny(p.text[p.pos:], "=<>~")
	if n < 0 {
		return nil, false
	}
	attr := p.text[p.pos : p.pos+n]
	p.pos += n
	e := &Expr{}
	switch {
	case p.take("=*"):
		e.op = opPresent
	case p.take("="):
		e.op = opEqual
	case p.take("<="):
		e.op = opLessEqual
	case p.take("<"):
		e.op = opLess
	case p.take(">="):
		e.op = opGreaterEqual
	case p.take(">"):
		e.op = opGreater
	default:
		return nil, false
	}
	e.ref = p.reference(attr)
	if e.op != opPresent {
		n := strings.IndexByte(p.text[p.pos:], ')')
		if n < 0 {
			return nil, false
		}
		e.value = p.text[p.pos : p.pos+n]
		p.pos += n
		p.pattern(e)
	}
	return e, true
}

// reference splits name[aspect]$type.
func (p *parser) reference(attr string) ref {
	r := ref{name: attr}
	if i := strings.IndexAny(attr, "[]$"); i >= 0 {
		r.name, attr = attr[:i], attr[i:]
		if rest, ok := strings.CutPrefix(attr, "["); ok {
			aspect, after, found := strings.Cut(rest, "]")
			if !found || strings.ContainsAny(aspect, "[$") {
				return p.bad(r, attr)
			}
			r.aspect, r.hasAspect, attr = aspect, true, after
		}
		switch attr {
		case "":
		case "$d", "$v", "$t":
			r.typ = attr[1]
		default:
			return p.bad(r, attr)
		}
	}
	return r
}

func (p *parser) bad(r ref, at string) ref {
	if p.badRef == nil {
		p.badRef = fmt.Errorf("%w %q: unexpected %q", ErrReference, r.name, at)
	}
	return r
}

// pattern compiles a value with '*' as an anchored regular expression in which
// '*' is any text; other metacharacters keep their meaning.
func (p *parser) pattern(e *Expr) {
	if e.op != opEqual || !strings.Contains(e.value, "*") {
		return
	}
	e.match, e.ops, e.heavy = p.compile(e.value)
}

func (p *parser) compile(value string) (_ *regexp.Regexp, ops int, heavy bool) {
	if len(value) > MaxPattern {
		return nil, 0, true
	}
	text := "^" + strings.ReplaceAll(value, "*", ".*") + "$"
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, 0, false
	}
	ops = regexOps(tree)
	if p.ops += ops; ops > MaxRegexOps || p.ops > 16*MaxRegexOps {
		return nil, ops, true
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, ops, false
	}
	return re, ops, false
}

// regexOps is about how many instructions a pattern compiles to: counted
// repetitions are unrolled.
func regexOps(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, s := range re.Sub {
		n += regexOps(s)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, 1<<20)
}

// String is the constraint in its own language.
func (e *Expr) String() string {
	switch e.op {
	case opAnd, opOr, opNot:
		var b strings.Builder
		b.WriteByte('(')
		b.WriteByte("&|!"[e.op])
		for _, s := range e.sub {
			b.WriteString(s.String())
		}
		b.WriteByte(')')
		return b.String()
	}
	name := e.ref.String()
	if e.ref.typ != 0 {
		name += "$" + string(e.ref.typ)
	}
	if e.op == opPresent {
		return "(" + name + "=*)"
	}
	return "(" + name + opText[e.op] + e.value + ")"
}

// Mentions says whether a comparison name=value stands anywhere in the
// constraint.
func (e *Expr) Mentions(name, value string) bool {
	if e.op == opEqual && e.ref.name == name && e.value == value {
		return true
	}
	for _, s := range e.sub {
		if s.Mentions(name, value) {
			return true
		}
	}
	return false
}
