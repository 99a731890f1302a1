package wasm

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"
)

// module joins sections written by hand.
func module(sections ...[]byte) []byte {
	out := append([]byte{}, magic...)
	for _, s := range sections {
		out = append(leb(append(out, s[0]), uint64(len(s)-1)), s[1:]...)
	}
	return out
}

func section(id byte, body ...byte) []byte { return append([]byte{id}, body...) }

// countdown exports f(n): a loop of n rounds, each of 6 instructions.
func countdown() []byte {
	code := []byte{
		0x03, 0x40, // loop
		0x20, 0, 0x41, 1, 0x6b, 0x22, 0, // n = n - 1
		0x0d, 0, // br_if
		0x0b, 0x20, 0, 0x0b, // end, n, end
	}
	body := append([]byte{0}, code...)
	return module(
		section(1, 1, 0x60, 1, 0x7f, 1, 0x7f),
		section(3, 1, 0),
		section(7, 1, 1, 'f', 0, 0),
		append(section(10, 1, byte(len(body))), body...),
	)
}

func TestFuelIsTheNumberOfInstructions(t *testing.T) {
	t.Parallel()
	metered, err := Meter(countdown())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	mod, err := rt.Instantiate(ctx, metered)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mod.ExportedFunction("f").Call(ctx, 10); err != nil {
		t.Fatal(err)
	}
	// Ten rounds of get, const, sub, tee, br_if, and the get at the end.
	if got := plenty - int64(mod.ExportedGlobal(fuelExport).Get()); got != 10*5+1 {
		t.Errorf("fuel %d", got)
	}
}

func TestAStartFunctionWaitsForFuel(t *testing.T) {
	t.Parallel()
	m := module(
		section(1, 1, 0x60, 0, 0),
		section(3, 1, 0),
		section(8, 0),
		section(10, 1, 3, 0, 0x01, 0x0b),
	)
	metered, err := Meter(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := split(metered)
	if err != nil || s[secStart] != nil || !bytes.Contains(s[secExport], []byte(startExport)) {
		t.Errorf("start %x, exports %q, %v", s[secStart], s[secExport], err)
	}
}

func TestWhatCannotBeMeteredIsSaid(t *testing.T) {
	t.Parallel()
	atomic := module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(10, 1, 6, 0, 0xfe, 0x03, 0, 0, 0x0b))
	taken := module(section(7, 1, byte(len(fuelExport)), 'e', 'm', 'e', 't', ':', 'f', 'u', 'e', 'l', 0, 0))
	for name, m := range map[string][]byte{"threads": atomic, "taken name": taken, "no module": []byte("hello")} {
		if _, err := Meter(m); !errors.Is(err, ErrUnmeterable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Meter(countdown()[:40]); err == nil {
		t.Error("a module that breaks off was metered")
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(countdown())
	f.Fuzz(func(t *testing.T, m []byte) {
		out, err := Meter(m)
		if err != nil {
			return
		}
		// What is valid stays valid.
		ctx := context.Background()
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
		defer rt.Close(ctx)
		if _, err := rt.CompileModule(ctx, m); err != nil {
			return
		}
		if _, err := rt.CompileModule(ctx, out); err != nil {
			t.Fatalf("a valid module became invalid: %v", err)
		}
	})
}
