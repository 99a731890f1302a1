// Package tiles cuts a picture into parts and puts rendered parts together.
package tiles

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/png"
)

// Split cuts a picture of width × height into columns × rows tiles that cover
// it exactly, in reading order.
func Split(width, height, columns, rows int) []image.Rectangle {
	var out []image.Rectangle
	for r := range rows {
		for c := range columns {
			t := image.Rect(c*width/columns, r*height/rows, (c+1)*width/columns, (r+1)*height/rows)
			if !t.Empty() {
				out = append(out, t)
			}
		}
	}
	return out
}

// Arg is a tile as the render program takes it: "x0,y0,x1,y1".
func Arg(t image.Rectangle) string {
	return fmt.Sprintf("%d,%d,%d,%d", t.Min.X, t.Min.Y, t.Max.X, t.Max.Y)
}

// ParseArg reads what Arg writes.
func ParseArg(s string) (image.Rectangle, error) {
	var t image.Rectangle
	var rest string
	n, _ := fmt.Sscanf(s+" .", "%d,%d,%d,%d %s", &t.Min.X, &t.Min.Y, &t.Max.X, &t.Max.Y, &rest)
	if n != 5 || rest != "." || t.Empty() {
		return t, fmt.Errorf("tile %q: want x0,y0,x1,y1 with x0 < x1 and y0 < y1", s)
	}
	return t, nil
}

// Tile is a rendered part: where it belongs and its PNG.
type Tile struct {
	At  image.Rectangle
	PNG []byte
}

// Assemble puts tiles together. A tile of another size than its place is an
// error; places without a tile stay transparent.
func Assemble(width, height int, parts []Tile) (*image.RGBA, error) {
	whole := image.NewRGBA(image.Rect(0, 0, width, height))
	for _, p := range parts {
		img, err := png.Decode(bytes.NewReader(p.PNG))
		if err != nil {
			return nil, fmt.Errorf("tile %s: %w", Arg(p.At), err)
		}
		if img.Bounds().Size() != p.At.Size() || !p.At.In(whole.Rect) {
			return nil, fmt.Errorf("tile %s: a picture of %v does not fit there", Arg(p.At), img.Bounds().Size())
		}
		draw.Draw(whole, p.At, img, img.Bounds().Min, draw.Src)
	}
	return whole, nil
}
