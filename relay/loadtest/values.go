package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A size is a number of bytes on the command line.
type size int

func (s *size) String() string { return strconv.Itoa(int(*s)) }

// Set implements [flag.Value].
func (s *size) Set(text string) error {
	factor := 1
	for unit, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if number, found := strings.CutSuffix(text, unit); found {
			text, factor = number, n
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<30/factor {
		return errors.New("write it like 128 or 64KiB")
	}
	*s = size(n * factor)
	return nil
}

// A share is a number of clients, or so many of a hundred.
type share struct {
	n       float64
	percent bool
}

func (s *share) String() string {
	if s.percent {
		return fmt.Sprintf("%g%%", s.n)
	}
	return fmt.Sprintf("%g", s.n)
}

// Set implements [flag.Value].
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0) || percent && n > 100 || !percent && (n != float64(int(n)) || n > maxClients) {
		return errors.New("write it like 10% or 25")
	}
	*s = share{n, percent}
	return nil
}

// of returns how many of all that are.
func (s share) of(all int) int {
	if s.percent {
		return int(s.n*float64(all)/100 + 0.5)
	}
	return int(s.n)
}

// spread reports whether number i of all is one of some that are spread evenly over them.
func spread(i, some, all int) bool {
	return (i+1)*some/all != i*some/all
}

// Lines are the values of a repeatable option.
type lines []string

func (l *lines) String() string { return strings.Join(*l, ", ") }

// Set implements [flag.Value].
func (l *lines) Set(text string) error {
	*l = append(*l, text)
	return nil
}
