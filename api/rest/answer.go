package rest

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"
)

// answer sends a JSON value, scalars included, as application/json. Clients
// tell text from JSON by the content type alone.
func answer(c echo.Context, status int, v any) error {
	return answerAs(c, status, "application/json", v)
}

func answerAs(c echo.Context, status int, contentType string, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return c.Blob(status, contentType, b)
}

// encode writes compact JSON without escaping HTML, so that texts of other
// nodes come out as they went in.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ok answers 200 with a JSON value.
func ok(c echo.Context, v any) error { return answer(c, http.StatusOK, v) }

// list answers 200 with a JSON array, [] when there is nothing.
func list[T any](c echo.Context, v []T) error {
	if v == nil {
		v = []T{}
	}
	return ok(c, v)
}

// done answers 200 null, as deletions and acceptances do.
func done(c echo.Context) error { return ok(c, nil) }

// nothing answers 204.
func nothing(c echo.Context) error { return c.NoContent(http.StatusNoContent) }

// empty answers 200 without a body and without a content type.
func empty(c echo.Context) error { return c.NoContent(http.StatusOK) }
