package rest

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/rest/dto"
)

// query reads parameters strictly: a parameter given twice, or a number or
// date that is empty or unreadable, is a 400. Unknown parameters are ignored.
// The first error is kept; check it with err when all is read.
type query struct {
	values url.Values
	err    error
}

func queryOf(c echo.Context) *query {
	v, err := url.ParseQuery(c.Request().URL.RawQuery)
	q := &query{values: v}
	if err != nil {
		q.err = badQuery("Query deserialize error: %v", err)
	}
	return q
}

func (q *query) fail(name, why string) {
	if q.err == nil {
		q.err = badQuery("Query deserialize error: %s: %s", name, why)
	}
}

// text is a parameter, "" when absent.
func (q *query) text(name string) string {
	v := q.values[name]
	if len(v) > 1 {
		q.fail(name, "duplicate field")
	}
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// given returns a parameter that must not be empty if it is there.
func (q *query) given(name string) (string, bool) {
	if !q.values.Has(name) {
		return "", false
	}
	v := q.text(name)
	if v == "" {
		q.fail(name, "empty value")
		return "", false
	}
	return v, true
}

// wait is a time to wait in seconds, which may have a fraction.
func (q *query) wait(name string, absent time.Duration) time.Duration {
	f, ok := q.fraction(name)
	if !ok {
		return absent
	}
	return seconds(f)
}

// patience is a time in seconds that something else is done with than waiting:
// it must not be negative, and more than most is most.
func (q *query) patience(name string, absent, most time.Duration) time.Duration {
	f, ok := q.fraction(name)
	if !ok {
		return absent
	}
	if f < 0 {
		q.fail(name, "want seconds from 0 on, got "+strconv.Quote(q.values.Get(name)))
	}
	return min(seconds(f), most)
}

// fraction is a number that may have a fraction.
func (q *query) fraction(name string) (f float64, given bool) {
	v, ok := q.given(name)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		q.fail(name, "want seconds, got "+strconv.Quote(v))
		return 0, false
	}
	return f, true
}

// seconds makes a time to wait of a number, within what the node allows.
func seconds(f float64) time.Duration {
	return time.Duration(min(max(f, 0), maxWait.Seconds()) * float64(time.Second))
}

// number is a whole number.
func (q *query) number(name string, absent int64) int64 {
	v, ok := q.given(name)
	if !ok {
		return absent
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		q.fail(name, "want a whole number, got "+strconv.Quote(v))
	}
	return n
}

// date is a date-time; the zero time when absent.
func (q *query) date(name string) time.Time {
	v, ok := q.given(name)
	if !ok {
		return time.Time{}
	}
	t, err := dto.ParseTime(v)
	if err != nil {
		q.fail(name, err.Error())
	}
	return t
}

// list is a comma-separated parameter.
func (q *query) list(name string) []string {
	v, ok := q.given(name)
	if !ok {
		return nil
	}
	return strings.Split(v, ",")
}
