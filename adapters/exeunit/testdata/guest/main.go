// Command guest is the program that the tests of the exe-unit run inside the
// WASM runtime. Its first argument says what to do.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	args := os.Args
	// Called through an entry point, the program's own words come later.
	for len(args) > 1 && acts[args[0]] == nil {
		args = args[1:]
	}
	act := acts[args[0]]
	if act == nil {
		fmt.Fprintf(os.Stderr, "guest: unknown act %q of %q\n", args[0], os.Args)
		os.Exit(64)
	}
	if err := act(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

var acts = map[string]func([]string) error{
	"args": func([]string) error { _, err := fmt.Println(strings.Join(os.Args, "|")); return err },
	"env":  func([]string) error { _, err := fmt.Println(strings.Join(os.Environ(), "|")); return err },
	"exit": func(a []string) error { n, _ := strconv.Atoi(a[0]); os.Exit(n); return nil },
	"spin": func([]string) error {
		for i := 0; ; i++ {
			sink += i
		}
	},
	"sleep": func(a []string) error {
		d, err := time.ParseDuration(a[0])
		time.Sleep(d)
		return err
	},
	"out": func(a []string) error {
		n, _ := strconv.Atoi(a[0])
		for i := range n {
			fmt.Printf("line %d\n", i)
		}
		return nil
	},
	"bytes": func([]string) error { // all there are
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(i)
		}
		_, err := os.Stdout.Write(b)
		return err
	},
	"drip": func(a []string) error {
		n, _ := strconv.Atoi(a[0])
		for i := range n {
			fmt.Printf("drop %d\n", i)
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	},
	"both": func([]string) error {
		fmt.Print("to stdout")
		fmt.Fprint(os.Stderr, "to stderr")
		return nil
	},
	"sum": func(a []string) error {
		n, _ := strconv.Atoi(a[0])
		h := sha256.New()
		for i := range n {
			fmt.Fprintf(h, "%d", i)
		}
		fmt.Printf("%x\n", h.Sum(nil))
		return nil
	},
	"clock": func([]string) error {
		var b [8]byte
		_, err := rand.Read(b[:])
		start := time.Now()
		time.Sleep(20 * time.Millisecond)
		fmt.Printf("%d %d %x\n", start.Unix(), time.Since(start).Milliseconds(), b)
		return err
	},
	"write": func(a []string) error { return os.WriteFile(a[0], []byte(strings.Join(a[1:], " ")), 0o666) },
	"read": func(a []string) error {
		b, err := os.ReadFile(a[0])
		fmt.Print(string(b))
		return err
	},
	"copy": func(a []string) error {
		in, err := os.Open(a[0])
		if err != nil {
			return err
		}
		out, err := os.Create(a[1])
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		return out.Close()
	},
	"symlink": func(a []string) error { return os.Symlink(a[0], a[1]) },
	"flood": func(a []string) error {
		f, err := os.Create(a[0])
		if err != nil {
			return err
		}
		block := make([]byte, 1<<16)
		for range 1 << 14 {
			if _, err := f.Write(block); err != nil {
				return err
			}
		}
		return nil
	},
	"memory": func(a []string) error {
		mib, _ := strconv.Atoi(a[0])
		for range mib {
			held = append(held, make([]byte, 1<<20))
			held[len(held)-1][0] = 1
		}
		return nil
	},
	"list": func(a []string) error {
		return filepath.WalkDir(a[0], func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				fmt.Println(p)
			}
			return err
		})
	},
	"panic": func([]string) error { panic("on purpose") },
}

var (
	sink int
	held [][]byte
)
