package rest

import (
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/es"
)

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255
)

// metaOf is what the facts of a request say about their origin. story is the
// id that ties facts together, session the client's app session.
func metaOf(c echo.Context, story, session string) es.Meta {
	k := keyOf(c.Request().Context())
	return es.Meta{
		Correlation: story, Key: commandKey(c), Actor: es.ActorREST, Identity: string(k.Identity),
		AppKey: k.ID, Session: session, Grade: es.GradeSelf, Trace: c.Request().Header.Get("traceparent"),
	}
}

// commandKey makes a command that the client sends again be carried out once,
// if the client gave it a key. It can never equal the key of anybody else's
// command: it names the app-key and the route.
func commandKey(c echo.Context) string {
	given := c.Request().Header.Get(idempotencyHeader)
	if given == "" || len(given) > maxIdempotencyKey {
		return uuid.Must(uuid.NewV7()).String()
	}
	r := c.Request()
	return "rest/" + keyOf(r.Context()).ID + "/" + r.Method + " " + r.URL.Path + "/" + given
}

// keyed says whether the client gave its request an Idempotency-Key that counts.
func keyed(c echo.Context) bool {
	given := c.Request().Header.Get(idempotencyHeader)
	return given != "" && len(given) <= maxIdempotencyKey
}

// ids of things that clients create are random, but the same again for the
// same idempotency key.
var idSpace = es.ID{0x72, 0x65, 0x73, 0x74, 0x2d, 0x69, 0x64, 0x73, 0x80, 0x65, 0x6d, 0x65, 0x74, 0x6e, 0x65, 0x77}

// newID makes an id for what a request creates, 32 hexadecimal digits.
func newID(c echo.Context) string {
	id := newUUID(c)
	return hex.EncodeToString(id[:])
}

func newUUID(c echo.Context) uuid.UUID {
	if c.Request().Header.Get(idempotencyHeader) == "" {
		return uuid.New()
	}
	return uuid.UUID(es.NameID(idSpace, commandKey(c)))
}

// accepts says whether the client asked for a media type by name.
func accepts(r *http.Request, media string) bool {
	return slices.Contains(r.Header.Values("Accept"), media)
}
