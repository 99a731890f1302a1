package ledger_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/ledger"
)

func TestPathsOfTilesAreThoseOfC2SP(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct {
		level int
		index uint64
		width int
	}{
		"0/000":                        {0, 0, 256},
		"0/x001/x234/067":              {0, 1234067, 256},
		"1/x001/x234/067.p/128":        {1, 1234067, 128},
		"0/x273/063":                   {0, 273063, 256},
		"3/999.p/1":                    {3, 999, 1},
		"2/x001/000.p/255":             {2, 1000, 255},
		"7/x009/x223/x372/x036/854/x0": {-1, 0, 0},
		"0/1":                          {-1, 0, 0},
		"0/001/002":                    {-1, 0, 0},
		"0/x001":                       {-1, 0, 0},
		"0/x000/001":                   {-1, 0, 0},
		"00/000":                       {-1, 0, 0},
		"-1/000":                       {-1, 0, 0},
		"8/000":                        {-1, 0, 0},
		"0/000.p/256":                  {-1, 0, 0},
		"0/000.p/0":                    {-1, 0, 0},
		"0/000.p/01":                   {-1, 0, 0},
		"0/000.p/1.p/1":                {-1, 0, 0},
		"0/../000":                     {-1, 0, 0},
		"entries/000":                  {-1, 0, 0},
		"":                             {-1, 0, 0},
	} {
		level, index, width, err := ledger.ParseTilePath(path)
		if c.level < 0 {
			if !errors.Is(err, ledger.ErrRange) {
				t.Errorf("%q is taken for %d %d %d", path, level, index, width)
			}
			continue
		}
		if err != nil || level != c.level || index != c.index || width != c.width {
			t.Errorf("%q: %d %d %d %v", path, level, index, width, err)
		}
		if got := ledger.TilePath(c.level, c.index, c.width); got != path {
			t.Errorf("%q, want %q", got, path)
		}
	}
}

func FuzzTilePath(f *testing.F) {
	for _, s := range []string{"0/000", "0/x001/x234/067.p/8", "0/x/../1", "7/x999/x999/x999/x999/x999/x999/999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		level, index, width, err := ledger.ParseTilePath(path)
		if err == nil && ledger.TilePath(level, index, width) != path {
			t.Errorf("%q has another spelling", path)
		}
	})
}
