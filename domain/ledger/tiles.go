package ledger

import (
	"fmt"
	"strconv"
	"strings"
)

// The tiles of a log, as c2sp.org/tlog-tiles has them: rows of TileWidth hashes
// of one height of the tree.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
	// MaxTileLevel is the highest level at which a log of less than 2^63 events
	// has a tile.
	MaxTileLevel = 7
)

// TilePath is where a tile lies, below tile/: the level and the index in
// groups of three digits, all but the last with an x before them, and .p/width
// for a tile that is not full.
func TilePath(level int, index uint64, width int) string {
	n := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		n = fmt.Sprintf("x%03d/%s", index%1000, n)
	}
	n = strconv.Itoa(level) + "/" + n
	if width < TileWidth {
		n += ".p/" + strconv.Itoa(width)
	}
	return n
}

// ParseTilePath reads what [TilePath] writes, and nothing else: [ErrRange].
func ParseTilePath(path string) (level int, index uint64, width int, err error) {
	bad := fmt.Errorf("%w: %q is not the path of a tile", ErrRange, path)
	lead, digits, ok := strings.Cut(path, "/")
	if !ok || len(path) > 64 {
		return 0, 0, 0, bad
	}
	width = TileWidth
	if whole, part, isPart := strings.Cut(digits, ".p/"); isPart {
		if width, err = strconv.Atoi(part); err != nil {
			return 0, 0, 0, bad
		}
		digits = whole
	}
	level, err = strconv.Atoi(lead)
	if err != nil {
		return 0, 0, 0, bad
	}
	index, err = strconv.ParseUint(strings.NewReplacer("/", "", "x", "").Replace(digits), 10, 63)
	if err != nil || level < 0 || level > MaxTileLevel || width < 1 || TilePath(level, index, width) != path {
		return 0, 0, 0, bad
	}
	return level, index, width, nil
}
