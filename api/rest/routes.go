package rest

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/api/gen/emet"
	gengsb "github.com/emet-node/emet/api/gen/gsb"
	"github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/gen/node"
)

// Where the documents are served.
const (
	marketBase   = "/market-api/v1"
	activityBase = "/activity-api/v1"
	paymentBase  = "/payment-api/v1"
	gsbBase      = "/gsb-api/v1"
	emetBase     = "/emet-api/v1"
)

// inMemory are operations whose effect is in no log.
var inMemory = map[string]bool{"BeginScan": true, "EndScan": true, "EndScanOfEvents": true, "BindServices": true, "UnbindServices": true}

// changes says whether an operation changes something. Waiting does not, and
// polls see to their keys themselves.
func changes(method, operation string) bool {
	return method != http.MethodGet && operation != "WaitForApproval"
}

// slashed are operations whose last parameter has slashes in it.
var slashed = map[string]bool{"GetTile": true}

// routes serves exactly what the documents list.
func (s *server) routes(e *echo.Echo) {
	for _, r := range node.Routes {
		e.Add(r.Method, r.Path, s.in(&otherFamily, r.Handle(nodeAPI{s})))
	}
	again := newReplays()
	replayed := func(method, operation string, h echo.HandlerFunc) echo.HandlerFunc {
		switch {
		case inMemory[operation]:
			return again.once(h)
		case changes(method, operation):
			return s.inTurn(h)
		}
		return h
	}
	m := newMarketAPI(s)
	for _, r := range market.Routes {
		e.Add(r.Method, marketBase+r.Path, s.in(&marketFamily, replayed(r.Method, r.Operation, r.Handle(m))))
	}
	a := newActivityAPI(s)
	for _, r := range activity.Routes {
		e.Add(r.Method, activityBase+r.Path, s.in(&activityFamily, replayed(r.Method, r.Operation, r.Handle(a))))
	}
	s.paymentRoutes(e, replayed)
	for _, r := range gengsb.Routes {
		e.Add(r.Method, gsbBase+r.Path, s.in(&gsbFamily, replayed(r.Method, r.Operation, r.Handle(gsbAPI{s}))))
	}
	for _, r := range emet.Routes {
		f, path := &otherFamily, r.Path
		if strings.HasPrefix(path, "/log/") {
			f = &tlogFamily
		}
		if slashed[r.Operation] {
			path = path[:strings.LastIndex(path, ":")] + "*"
		}
		e.Add(r.Method, emetBase+path, s.in(f, r.Handle(emetAPI{s})))
	}
}
