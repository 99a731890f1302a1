package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emet-node/emet/domain/ledger"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// maxLevel is the highest level at which a log of less than 2^63 events has
	// a tile.
	maxLevel = 7
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
	if width < tileWidth {
		n += ".p/" + strconv.Itoa(width)
	}
	return n
}

// ParseTilePath reads what [TilePath] writes, and nothing else.
func ParseTilePath(path string) (level int, index uint64, width int, err error) {
	bad := fmt.Errorf("%w: %q is not the path of a tile", ledger.ErrRange, path)
	lead, digits, ok := strings.Cut(path, "/")
	if !ok || len(path) > 64 {
		return 0, 0, 0, bad
	}
	width = tileWidth
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
	if err != nil || level < 0 || level > maxLevel || width < 1 || TilePath(level, index, width) != path {
		return 0, 0, 0, bad
	}
	return level, index, width, nil
}
