package rest

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// crossOrigin answers CORS preflights, keeps pages of unknown origin out, and
// refuses names that a hostile DNS server may have made to point here.
//
// A browser sends Origin with everything that a page of another site asks for.
// Clients that are not browsers send none, and may call the node by any name.
func (s *server) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if preflight := origin != "" && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""; preflight {
			s.preflight(w, r, origin)
			return
		}
		if (origin != "" || !needsKey(r)) && !s.knownHost(r.Host) {
			plain(w, http.StatusForbidden, "This node is not known by that host name")
			return
		}
		if origin == "" {
			if r.Header.Get("Sec-Fetch-Site") == "cross-site" && needsKey(r) {
				plain(w, http.StatusForbidden, "Requests of other sites need an allowed origin")
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		s.fromPage(w, r, origin, next)
	})
}

// preflight is answered without a key, since browsers send none.
func (s *server) preflight(w http.ResponseWriter, r *http.Request, origin string) {
	if !s.knownHost(r.Host) || !s.allowed(s.AllowOrigins, origin) && !s.allowed(s.Keys.Origins(), origin) {
		plain(w, http.StatusBadRequest, "Origin is not allowed to make this request")
		return
	}
	h := w.Header()
	allowOrigin(h, origin)
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
	if want := r.Header.Get("Access-Control-Request-Headers"); want != "" {
		h.Set("Access-Control-Allow-Headers", want)
	}
	h.Set("Access-Control-Max-Age", strconv.Itoa(int(s.PreflightAge.Seconds())))
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	w.WriteHeader(http.StatusOK)
}

// fromPage serves a request of a web page: of this node's own pages, or of an
// origin that the configuration or the key names.
func (s *server) fromPage(w http.ResponseWriter, r *http.Request, origin string, next http.Handler) {
	if sameOrigin(origin, r) {
		next.ServeHTTP(w, r)
		return
	}
	key, known := Key{}, false
	if secret := secretOf(r); secret != "" {
		key, known = s.Keys.Find(secret)
	}
	switch {
	case s.allowed(s.AllowOrigins, origin), known && s.allowed(key.AllowOrigins, origin):
		allowOrigin(w.Header(), origin)
	case !known && s.allowed(s.Keys.Origins(), origin):
		allowOrigin(w.Header(), origin) // so that the page can read its 401
	case known || isUpgrade(r) || r.Method != http.MethodGet:
		plain(w, http.StatusForbidden, "Origin is not allowed to use this application key")
		return
	}
	next.ServeHTTP(w, r)
}

func allowOrigin(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Access-Control-Expose-Headers", "Location")
	h.Add("Vary", "Origin")
}

func (s *server) allowed(list []string, origin string) bool {
	return slices.ContainsFunc(list, func(o string) bool { return o == "*" && s.AllowAnyOrigin || strings.EqualFold(o, origin) })
}

func sameOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// knownHost says whether a Host header names this machine for certain: an
// address cannot be rebound, localhost is local, the rest is configured.
func (s *server) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil {
		return true
	}
	return slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(h, name) || strings.EqualFold(h, host) })
}
