package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/ledger"
)

// Ledger proves what the log says; *ledger.Keeper of adapters does.
type Ledger interface {
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
	Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error)
}

// errNoProofs says that the node keeps no tree of its log.
var errNoProofs = problem(http.StatusNotFound, "this node proves nothing: its store keeps no tree of the log")

var tlogFamily = family{text: asItIs, status: func(err error) int {
	if errors.Is(err, ledger.ErrRange) || errors.Is(err, ledger.ErrUnsigned) {
		return http.StatusNotFound
	}
	return 0
}}

// GetCheckpoint answers the newest signed note.
func (s emetAPI) GetCheckpoint(c echo.Context) error {
	if s.Ledger == nil {
		return errNoProofs
	}
	checkpoint, err := s.Ledger.Checkpoint(c.Request().Context())
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-cache")
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", checkpoint.Note)
}

// GetTile answers the hashes of a tile. What it holds never changes.
func (s emetAPI) GetTile(c echo.Context) error {
	if s.Ledger == nil {
		return errNoProofs
	}
	level, index, width, err := ledger.ParseTilePath(c.Param("level") + "/" + c.Param("*"))
	if err != nil {
		return problem(http.StatusNotFound, "there is no such tile; the path is that of c2sp.org/tlog-tiles")
	}
	b, err := s.Ledger.Tile(c.Request().Context(), level, index, width)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "max-age=31536000, immutable")
	return c.Blob(http.StatusOK, "application/octet-stream", b)
}
