package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/labstack/echo/v4"
)

// readJSON reads the body into v. Keys that v does not know are ignored, as
// clients send many. What cannot be read is a 400 in the family's dress.
func readJSON(c echo.Context, v any) error {
	b, err := readBody(c)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return badBody(c, "Json deserialize error: %v", plainly(err))
	}
	return nil
}

// plainly says what is wrong with a body without the names of Go types.
func plainly(err error) error {
	var t *json.UnmarshalTypeError
	if !errors.As(err, &t) {
		return err
	}
	want := "something else"
	switch t.Type.Kind() {
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Slice, reflect.Array:
		want = "an array"
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		want = "a number"
	}
	if t.Field == "" {
		return fmt.Errorf("want %s, not %s", want, t.Value)
	}
	return fmt.Errorf("%s: want %s, not %s", t.Field, want, t.Value)
}

// readBody reads the bytes of a JSON body within its limits.
func readBody(c echo.Context) ([]byte, error) {
	if !isJSON(c.Request().Header.Get("Content-Type")) {
		return nil, badBody(c, "Content type error: want application/json")
	}
	b, err := io.ReadAll(c.Request().Body)
	if tooLarge(err) {
		return nil, &Problem{Status: http.StatusRequestEntityTooLarge, Text: "JSON payload is larger than allowed (2 MiB)", Plain: true}
	}
	if err != nil {
		return nil, badBody(c, "Payload error: %v", err)
	}
	if err := checkJSON(b); err != nil {
		return nil, badBody(c, "Json deserialize error: %v", plainly(err))
	}
	return b, nil
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

func badBody(c echo.Context, format string, args ...any) error {
	f, _ := c.Get(familyKey).(*family)
	return &Problem{
		Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...),
		Plain: f == nil || !f.jsonBodies,
	}
}

// readReason reads a body that is null or an object with a text "message" and
// any further keys. It returns the text of the object as it came, "" for null.
func readReason(c echo.Context) (string, error) {
	b, err := readBody(c)
	if err != nil {
		return "", err
	}
	var r *struct {
		Message *string `json:"message"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return "", badBody(c, "Json deserialize error: %v", plainly(err))
	}
	if r == nil {
		return "", nil
	}
	if r.Message == nil {
		return "", badBody(c, "Json deserialize error: missing field `message`")
	}
	return compact(b), nil
}

// compact takes the white space out of JSON that is known to be well formed.
func compact(b []byte) string {
	out, err := encode(json.RawMessage(b))
	if err != nil {
		return string(b)
	}
	return string(out)
}

// reasonObject is a reason as clients need it: always an object with a message.
func reasonObject(text string) json.RawMessage {
	if text == "" || text == "null" {
		return json.RawMessage(`{"message":""}`)
	}
	return json.RawMessage(text)
}
