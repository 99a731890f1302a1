// Command render draws a tile of a small scene. Built for wasip1 it is a guest
// that any provider of WASM can run:
//
//	GOOS=wasip1 GOARCH=wasm go build -o render.wasm ./examples/render
//	render -scene marbles -width 320 -height 200 -tile 0,0,160,100 -spp 16 -o /golem/output/0.png
package main

import (
	"flag"
	"fmt"
	"image/png"
	"os"
	"strings"
	"time"

	"github.com/emet-node/emet/examples/render/tiles"
	"github.com/emet-node/emet/examples/render/tracer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run() error {
	var job tracer.Job
	flag.StringVar(&job.Scene, "scene", "marbles", strings.Join(tracer.Scenes(), ", "))
	flag.IntVar(&job.Width, "width", 320, "width of the whole picture")
	flag.IntVar(&job.Height, "height", 200, "height of the whole picture")
	flag.IntVar(&job.Samples, "spp", 16, "paths for each pixel")
	tile := flag.String("tile", "", "x0,y0,x1,y1: the part to render (default all)")
	out := flag.String("o", "tile.png", "PNG file to write")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected %q", flag.Args())
	}
	var err error
	if *tile != "" {
		if job.Tile, err = tiles.ParseArg(*tile); err != nil {
			return err
		}
	}
	began := time.Now()
	img, err := tracer.Render(job)
	if err != nil {
		return err
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	if err := png.Encode(f, img); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Printf("rendered %s of %s, %d paths, in %d ms\n",
		tiles.Arg(img.Bounds()), job.Scene, img.Bounds().Dx()*img.Bounds().Dy()*job.Samples, time.Since(began).Milliseconds())
	return nil
}
