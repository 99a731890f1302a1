// Command echo shows what a guest is given: its arguments, its environment,
// its input and its files.
//
//	echo words…        prints the words
//	echo -env          prints the environment, a variable a line
//	echo -stdin        copies standard input to standard output
//	echo -copy A B     copies file A to B and says how many bytes
//	echo -exit N       ends with code N
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	switch word {
	case "-env":
		env := os.Environ()
		slices.Sort(env)
		fmt.Println(strings.Join(env, "\n"))
	case "-stdin":
		_, err = io.Copy(os.Stdout, os.Stdin)
	case "-copy":
		if len(args) != 3 {
			return 0, errors.New("-copy wants two files")
		}
		err = duplicate(args[1], args[2])
	case "-exit":
		if len(args) != 2 {
			return 0, errors.New("-exit wants a number")
		}
		return strconv.Atoi(args[1])
	default:
		fmt.Println(strings.Join(args, " "))
	}
	return 0, err
}

func duplicate(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err == nil {
		fmt.Printf("copied %d bytes\n", n)
	}
	return err
}
