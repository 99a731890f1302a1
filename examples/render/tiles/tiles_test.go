package tiles_test

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/examples/render/tiles"
	"github.com/emet-node/emet/examples/render/tracer"
)

func TestTilesCoverThePictureOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 40).Draw(t, "w"), rapid.IntRange(1, 40).Draw(t, "h")
		seen := map[image.Point]int{}
		for _, r := range tiles.Split(w, h, rapid.IntRange(1, 6).Draw(t, "columns"), rapid.IntRange(1, 6).Draw(t, "rows")) {
			back, err := tiles.ParseArg(tiles.Arg(r))
			if err != nil || back != r {
				t.Fatalf("%v became %v, %v", r, back, err)
			}
			for y := r.Min.Y; y < r.Max.Y; y++ {
				for x := r.Min.X; x < r.Max.X; x++ {
					seen[image.Pt(x, y)]++
				}
			}
		}
		if len(seen) != w*h {
			t.Fatalf("%d of %d pixels", len(seen), w*h)
		}
		for p, n := range seen {
			if n != 1 || p.X >= w || p.Y >= h {
				t.Fatalf("%v is covered %d times", p, n)
			}
		}
	})
}

func TestTilesMakeTheWhole(t *testing.T) {
	t.Parallel()
	for _, scene := range tracer.Scenes() {
		job := tracer.Job{Scene: scene, Width: 30, Height: 20, Samples: 2}
		whole, err := tracer.Render(job)
		if err != nil {
			t.Fatal(err)
		}
		var parts []tiles.Tile
		for _, at := range tiles.Split(30, 20, 3, 2) {
			job.Tile = at
			img, err := tracer.Render(job)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, tiles.Tile{At: at, PNG: b.Bytes()})
		}
		got, err := tiles.Assemble(30, 20, parts)
		if err != nil || !bytes.Equal(got.Pix, whole.Pix) {
			t.Errorf("%s: the tiles differ from the whole, %v", scene, err)
		}
		parts[0].At = parts[0].At.Inset(1)
		if _, err := tiles.Assemble(30, 20, parts); err == nil {
			t.Error("a tile that does not fit was taken")
		}
	}
}

func TestBadTilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "1,2,3", "0,0,0,0", "1,2,3,4,5", "3,3,1,1", "a,b,c,d", "0,0,1,1x"} {
		if r, err := tiles.ParseArg(s); err == nil {
			t.Errorf("%q became %v", s, r)
		}
	}
	for _, j := range []tracer.Job{
		{Scene: "none", Width: 1, Height: 1, Samples: 1},
		{Scene: "dusk", Width: 1 << 20, Height: 1, Samples: 1},
		{Scene: "dusk", Width: 1, Height: 1},
		{Scene: "dusk", Width: 4, Height: 4, Samples: 1, Tile: image.Rect(2, 2, 6, 6)},
	} {
		if _, err := tracer.Render(j); err == nil {
			t.Errorf("%+v was rendered", j)
		}
	}
}
