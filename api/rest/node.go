package rest

import (
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/node"
	"github.com/emet-node/emet/api/rest/dto"
)

// nodeAPI answers who the caller is, which node answers, and how it is connected.
type nodeAPI struct{ *server }

// GetVersion tells the version of the protocol. Clients compare the first
// x.y.z in it with what they need.
func (s nodeAPI) GetVersion(c echo.Context) error {
	released := s.Released
	if released.IsZero() {
		released = time.Unix(0, 0)
	}
	return ok(c, node.Versions{Current: node.Release{
		Version: s.Version, Name: s.Name, Seen: true, ReleaseTs: dto.NaiveTime{Time: released},
	}})
}

// GetMe tells which identity the app-key speaks for.
func (s nodeAPI) GetMe(c echo.Context) error {
	k := keyOf(c.Request().Context())
	return ok(c, node.Me{Identity: string(k.Identity), Name: k.Name, Role: string(k.Role)})
}

// GetNetStatus tells how the identity is connected.
func (s nodeAPI) GetNetStatus(c echo.Context) error {
	ctx := c.Request().Context()
	k := keyOf(ctx)
	st, err := s.Net.NetStatus(ctx, k.Identity)
	if err != nil {
		return err
	}
	return ok(c, node.NetStatus{
		NodeId: string(k.Identity), ListenIp: orNull(st.Listen), PublicIp: orNull(st.Public), Sessions: st.Sessions,
	})
}

// orNull is nil for "".
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
