package picture

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/examples/render/tiles"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var plan = Plan{Height: 30, Paths: 2, Program: strings.Repeat("ab", 32), Providers: 3, Session: "0123456789abcdef", Tiles: 6, Width: 40}

func tile(t *testing.T, at image.Rectangle, agreement string) Tile {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rectangle{Max: at.Size()})); err != nil {
		t.Fatal(err)
	}
	return Tile{tiles.Tile{At: at, PNG: b.Bytes()}, agreement}
}

func TestAPlanIsKept(t *testing.T) {
	t.Parallel()
	b := Book{t.TempDir()}
	if _, begun, err := b.Plan(); begun || err != nil {
		t.Fatal(begun, err)
	}
	if err := b.Begin(plan); err != nil {
		t.Fatal(err)
	}
	got, begun, err := b.Plan()
	if err != nil || !begun || got != plan {
		t.Fatalf("%+v %v %v", got, begun, err)
	}
	text, _ := os.ReadFile(filepath.Join(b.Dir, planFile))
	golden := filepath.Join("testdata", "plan.golden.json")
	if *update {
		if err := os.WriteFile(golden, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(text, want) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestADamagedPlanIsNotForgotten(t *testing.T) {
	t.Parallel()
	b := Book{t.TempDir()}
	if err := os.WriteFile(filepath.Join(b.Dir, planFile), []byte(`{"width":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Plan(); err == nil || !strings.Contains(err.Error(), "plan.json is damaged") {
		t.Error(err)
	}
}

func TestTheSamePictureForAnotherSession(t *testing.T) {
	t.Parallel()
	other := plan
	if other.Session = "another"; !plan.Same(other) {
		t.Error("the session is not part of the picture")
	}
	if other.Paths++; plan.Same(other) {
		t.Error("more paths make another picture")
	}
}

func TestOnlyWholeTilesAreThere(t *testing.T) {
	t.Parallel()
	b, places := Book{t.TempDir()}, plan.Split()
	if len(places) != 6 {
		t.Fatal(places)
	}
	torn, small := tile(t, places[2], "a"), tile(t, places[0], "b")
	torn.PNG = torn.PNG[:len(torn.PNG)-20]
	small.At = places[3].Inset(1)
	small.PNG, small.At = tile(t, small.At, "b").PNG, places[3]
	for _, k := range []Tile{tile(t, places[0], "a"), tile(t, places[0], "b"), tile(t, places[1], "b"), torn, small} {
		if err := b.Keep(k); err != nil {
			t.Fatal(err)
		}
	}
	there, missing, err := b.Tiles(plan)
	if err != nil || len(there) != 2 || there[0].At != places[0] || there[1].Agreement != "b" || len(missing) != 4 {
		t.Fatalf("%d there, missing %v, %v", len(there), missing, err)
	}
	if err := b.Keep(tile(t, places[2], "c")); err != nil { // made anew
		t.Fatal(err)
	}
	if there, _, _ = b.Tiles(plan); len(there) != 3 || there[2].Agreement != "c" {
		t.Errorf("%d there", len(there))
	}
}

func TestAFinishedPictureIsForgottenWhole(t *testing.T) {
	t.Parallel()
	b := Book{t.TempDir()}
	if err := b.Begin(plan); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(tile(t, plan.Split()[0], "a")); err != nil {
		t.Fatal(err)
	}
	if b.Finished() {
		t.Error("it is not finished")
	}
	if err := b.Finish(); err != nil || !b.Finished() {
		t.Fatal(err)
	}
	if err := b.Forget(); err != nil || b.Finished() {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(b.Dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if err := (Book{filepath.Join(b.Dir, "none")}).Forget(); err != nil {
		t.Error(err)
	}
}
