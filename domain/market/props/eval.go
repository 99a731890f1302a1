package props

import (
	"cmp"
	"strings"
)

// Truth is the value of a constraint: true, false or undefined.
type Truth uint8

// The three truths.
const (
	False Truth = iota
	True
	Undefined
)

func (t Truth) String() string { return [...]string{"False", "True", "Undefined"}[t] }

// Result of a constraint over properties. Unresolved lists the properties that
// were asked for and are not there. Reduced is what remains of the constraint
// when the result is undefined: evaluated later over richer properties it
// gives the same final result. It is nil otherwise.
type Result struct {
	Truth      Truth
	Unresolved []string
	Reduced    *Expr
}

// Eval evaluates the constraint. More than [MaxSteps] steps are undefined.
func (e *Expr) Eval(p Properties) Result {
	ev := &evaluation{props: p, left: MaxSteps}
	r := ev.eval(e)
	if ev.left < 0 {
		return Result{Truth: Undefined, Reduced: e}
	}
	return r
}

type evaluation struct {
	props Properties
	left  int
}

func (ev *evaluation) eval(e *Expr) Result {
	if ev.left--; ev.left < 0 {
		return Result{Truth: Undefined, Reduced: e}
	}
	switch e.op {
	case opAnd:
		return ev.all(e)
	case opOr:
		return ev.any(e)
	case opNot:
		return ev.not(e)
	case opPresent:
		return ev.present(e)
	}
	return ev.compare(e)
}

// all: the first false decides, else one undefined makes it undefined.
func (ev *evaluation) all(e *Expr) Result {
	out := Result{Truth: True}
	var open []*Expr
	for _, s := range e.sub {
		r := ev.eval(s)
		switch r.Truth {
		case False:
			return Result{Truth: False}
		case Undefined:
			out.Truth = Undefined
			open = append(open, r.Reduced)
		}
		out.Unresolved = append(out.Unresolved, r.Unresolved...)
	}
	return out.reduce(e.op, open)
}

// any: the first true decides, else one undefined makes it undefined. A false
// operand that waits for a property stays in what remains.
func (ev *evaluation) any(e *Expr) Result {
	out := Result{Truth: False}
	var open []*Expr
	for _, s := range e.sub {
		r := ev.eval(s)
		switch {
		case r.Truth == True:
			return Result{Truth: True}
		case r.Truth == Undefined:
			out.Truth = Undefined
			open = append(open, r.Reduced)
		case len(r.Unresolved) > 0:
			open = append(open, s)
		}
		out.Unresolved = append(out.Unresolved, r.Unresolved...)
	}
	return out.reduce(e.op, open)
}

func (r Result) reduce(op op, open []*Expr) Result {
	if r.Truth != Undefined {
		return r
	}
	r.Reduced = &Expr{op: op, sub: open}
	if len(open) == 1 {
		r.Reduced = open[0]
	}
	return r
}

func (ev *evaluation) not(e *Expr) Result {
	r := ev.eval(e.sub[0])
	switch r.Truth {
	case True:
		r.Truth = False
	case False:
		r.Truth = True
	case Undefined:
		r.Reduced = &Expr{op: opNot, sub: []*Expr{r.Reduced}}
	}
	return r
}

// present is never undefined. Nothing that comes from JSON has aspects.
func (ev *evaluation) present(e *Expr) Result {
	if _, ok := ev.props[e.ref.name]; ok && !e.ref.hasAspect {
		return Result{Truth: True}
	}
	return Result{Truth: False, Unresolved: []string{e.ref.String()}}
}

func (ev *evaluation) compare(e *Expr) Result {
	v, ok := ev.props[e.ref.name]
	if !ok || v.kind == kindImplicit || e.ref.hasAspect {
		return Result{Truth: Undefined, Unresolved: []string{e.ref.String()}, Reduced: e}
	}
	if v, ok = v.as(e.ref.typ); !ok || e.heavy {
		return Result{Truth: Undefined, Reduced: e}
	}
	if ev.holds(v, e) {
		return Result{Truth: True}
	}
	return Result{Truth: False}
}

// as converts a string property for a typed reference.
func (v value) as(typ byte) (value, bool) {
	var ok bool
	out := v
	switch typ {
	case 'v':
		out.kind = kindVersion
		if ok = v.kind == kindVersion; v.kind == kindString {
			out.ver, ok = parseVersion(v.text)
		}
	case 'd':
		out.kind = kindDecimal
		if ok = v.kind == kindDecimal; v.kind == kindString {
			out.dec, ok = parseDecimal(v.text)
		}
	case 't':
		out.kind = kindTime
		if ok = v.kind == kindTime; v.kind == kindString {
			out.time, ok = parseTime(v.text)
		}
	default:
		ok = true
	}
	return out, ok
}

// holds compares a property with the constraint's value. A value that cannot
// be read as the property's type is unequal.
func (ev *evaluation) holds(v value, e *Expr) bool {
	if e.op == opEqual {
		return ev.equal(v, e.value, e)
	}
	var c int
	var ok bool
	switch v.kind {
	case kindString:
		c, ok = strings.Compare(v.text, e.value), true
	case kindNumber:
		var n float64
		n, ok = parseNumber(e.value)
		ok = ok && n == n && v.num == v.num
		c = cmp.Compare(v.num, n)
	case kindVersion:
		var w version
		w, ok = parseVersion(e.value)
		c = v.ver.compare(w)
	case kindDecimal:
		var d decimal
		if d, ok = parseDecimal(e.value); ok {
			c = v.dec.compare(d)
		}
	case kindTime:
		var t instant
		t, ok = parseTime(e.value)
		c = v.time.compare(t)
	}
	return ok && e.op.holds(c)
}

func (o op) holds(c int) bool {
	switch o {
	case opLess:
		return c < 0
	case opLessEqual:
		return c <= 0
	case opGreater:
		return c > 0
	}
	return c >= 0
}

func (ev *evaluation) equal(v value, right string, e *Expr) bool {
	if ev.left -= 1 + len(v.text)/64 + len(right)/16; ev.left < 0 {
		return false
	}
	switch v.kind {
	case kindString:
		return ev.equalText(v.text, right, e)
	case kindNumber:
		n, ok := parseNumber(right)
		return ok && n == v.num
	case kindBool:
		return right == "true" && v.yes || right == "false" && !v.yes
	case kindList:
		return ev.equalList(v.list, right, e)
	case kindVersion:
		w, ok := parseVersion(right)
		return ok && v.ver.compare(w) == 0
	case kindDecimal:
		d, ok := parseDecimal(right)
		return ok && v.dec.compare(d) == 0
	case kindTime:
		t, ok := parseTime(right)
		return ok && v.time.compare(t) == 0
	}
	return false
}

func (ev *evaluation) equalText(text, right string, e *Expr) bool {
	if !strings.Contains(right, "*") {
		return text == right
	}
	re, ops := e.match, e.ops
	if right != e.value { // an item of a list
		re, ops, _ = (&parser{}).compile(right)
		ev.left -= 4 * ops
	}
	ev.left -= len(text) * ops / 64
	return re != nil && ev.left >= 0 && re.MatchString(text)
}

// equalList: a list of values must have the same length and only items that
// are in the property; a single value must be in it.
func (ev *evaluation) equalList(list []value, right string, e *Expr) bool {
	items, ok := listItems(right)
	if !ok {
		return ev.contains(list, right, e)
	}
	if len(items) != len(list) {
		return false
	}
	for _, item := range items {
		if !ev.contains(list, item, e) {
			return false
		}
	}
	return true
}

func (ev *evaluation) contains(list []value, right string, e *Expr) bool {
	for _, v := range list {
		if ev.equal(v, right, e) {
			return true
		}
	}
	return false
}

// listItems reads "[a, b]": leading white space of items is lost, trailing kept.
func listItems(s string) ([]string, bool) {
	body, ok := strings.CutPrefix(s, "[")
	if !ok {
		return nil, false
	}
	body, ok = strings.CutSuffix(body, "]")
	if !ok || strings.ContainsAny(body, "[]") {
		return nil, false
	}
	if body == "" {
		return nil, true
	}
	items := strings.Split(body, ",")
	for i := range items {
		items[i] = strings.TrimLeft(items[i], white)
	}
	return items, true
}
