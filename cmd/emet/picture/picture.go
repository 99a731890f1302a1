// Package picture keeps a demo's picture in the making: what it is to be, and
// the tiles that are there. When the demo is killed, the next one goes on with
// what is kept. Everything is on disk when a call returns, whole or not at all.
package picture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/examples/render/tiles"
)

// Plan is what is being made, and for whose money.
type Plan struct {
	Height    int    `json:"height"`
	Paths     int    `json:"paths"`   // for each pixel
	Program   string `json:"program"` // SHA3-256 of the renderer, in hex
	Providers int    `json:"providers"`
	Session   string `json:"session"` // of all agreements made for the picture
	Tiles     int    `json:"tiles"`   // as wished, see [Plan.Split]
	Width     int    `json:"width"`
}

// Same says whether another plan makes the same picture with as many providers.
func (p Plan) Same(other Plan) bool {
	other.Session = p.Session
	return p == other
}

// String tells the plan by the demo's flags.
func (p Plan) String() string {
	return fmt.Sprintf("--width %d --height %d --spp %d --tiles %d --providers %d and the program %.8s…", p.Width, p.Height, p.Paths, p.Tiles, p.Providers, p.Program)
}

// Split cuts the picture into at least as many tiles as wished.
func (p Plan) Split() []image.Rectangle {
	columns := 1
	for columns*columns < p.Tiles {
		columns++
	}
	return tiles.Split(p.Width, p.Height, columns, (p.Tiles+columns-1)/columns)
}

// Tile is a finished part, with the agreement under which it was made.
type Tile struct {
	tiles.Tile
	Agreement string
}

// Book is a directory with a plan and tiles.
type Book struct{ Dir string }

const (
	planFile     = "plan.json"
	finishedFile = "finished"
	tilesDir     = "tiles"
)

// Plan reads the plan. There is none, and no error, when nothing was begun.
func (b Book) Plan() (p Plan, begun bool, err error) {
	text, err := os.ReadFile(b.path(planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, false, fmt.Errorf("%s is damaged: %w", b.path(planFile), err)
	}
	return p, true, nil
}

// Begin writes a plan down.
func (b Book) Begin(p Plan) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(b.path(planFile), append(text, '\n'))
}

// Forget removes plan and tiles, the plan first: a book without one is not
// gone on with.
func (b Book) Forget() error {
	if err := os.Remove(b.path(planFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := (vfs.OS{}).SyncDir(b.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.RemoveAll(b.path(tilesDir)), os.RemoveAll(b.path(finishedFile)))
}

// Finish notes that the picture is done and paid for. The tiles are part of it
// by then.
func (b Book) Finish() error {
	if err := WriteFile(b.path(finishedFile), nil); err != nil {
		return err
	}
	return os.RemoveAll(b.path(tilesDir))
}

// Finished says whether the picture is done and paid for.
func (b Book) Finished() bool {
	_, err := os.Stat(b.path(finishedFile))
	return err == nil
}

// Keep keeps a finished tile.
func (b Book) Keep(t Tile) error { return WriteFile(b.tile(t.Agreement, t.At), t.PNG) }

// Tiles are those that are there, each place once, and the places of those
// that are not.
func (b Book) Tiles(p Plan) (there []Tile, missing []image.Rectangle, err error) {
	agreements, err := os.ReadDir(b.path(tilesDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
places:
	for _, at := range p.Split() {
		for _, a := range agreements {
			content, err := os.ReadFile(b.tile(a.Name(), at))
			if err == nil && Check(content, at) == nil {
				there = append(there, Tile{tiles.Tile{At: at, PNG: content}, a.Name()})
				continue places
			}
		}
		missing = append(missing, at)
	}
	return there, missing, nil
}

// Check says why content is no picture for a place.
func Check(content []byte, at image.Rectangle) error {
	img, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("tile %s: %w", tiles.Arg(at), err)
	}
	if img.Bounds().Size() != at.Size() {
		return fmt.Errorf("tile %s: a picture of %v is of another size", tiles.Arg(at), img.Bounds().Size())
	}
	return nil
}

func (b Book) path(name string) string { return filepath.Join(b.Dir, name) }

func (b Book) tile(agreement string, at image.Rectangle) string {
	return filepath.Join(b.path(tilesDir), agreement, tiles.Arg(at)+".png")
}

// WriteFile puts content into a file, making its directory if need be. After a
// crash the file is as it was before, or has all of the content.
func WriteFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone when it was renamed
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(vfs.OS{}.SyncDir(dir), vfs.OS{}.SyncDir(filepath.Dir(dir)))
}
