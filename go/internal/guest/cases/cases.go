// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package cases runs a table of cases in a guest whose kernel has the vhost, vDPA and VDUSE drivers, and says what
// tests/kern/guest.h says.
package cases

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Case is one of them.
type Case struct {
	name string
	run  func()
}

// Of is a case by its name.
func Of(name string, run func()) Case { return Case{name, run} }

type skipped string

// failed ends a case, with the line of the program's that asked.
func failed(format string, args ...any) {
	where := ""
	for depth := 1; ; depth++ {
		pc, file, line, ok := runtime.Caller(depth)
		if !ok || strings.Contains(runtime.FuncForPC(pc).Name(), "cases.Run") {
			break
		}
		where += fmt.Sprintf(" %s:%d", filepath.Base(file), line)
	}
	panic(fmt.Errorf("%s:%s", fmt.Sprintf(format, args...), where))
}

// Skip ends a case, because this kernel lacks something.
func Skip(why string) { panic(skipped(why)) }

// Must is a call that went well.
func Must(err error) {
	if err != nil {
		failed("%v", err)
	}
}

// Got is the result of one that did.
func Got[T any](v T, err error) T {
	Must(err)
	return v
}

// Check is a condition that holds.
func Check(cond bool, said ...any) {
	if !cond {
		failed("it does not hold; %v", said)
	}
}

// Refused is a call that failed with this number, and says this.
func Refused(err error, number syscall.Errno, text string) {
	if !errors.Is(err, number) || !strings.Contains(err.Error(), text) {
		failed("%v, and not %v with '%s'", err, number, text)
	}
}

func one(c Case) (verdict string) {
	defer func() {
		switch why := recover().(type) {
		case nil:
		case skipped:
			fmt.Printf("# skip: %s\n", string(why))
			verdict = "skip"
		default:
			fmt.Printf("# why: %v\n", why)
			verdict = "not ok"
		}
	}()
	c.run()
	return "ok"
}

// Run runs them all and ends the program.
func Run(table ...Case) {
	code := 0
	for _, c := range table {
		fmt.Println("case", c.name)
	}
	for _, c := range table {
		verdict := one(c)
		fmt.Println(verdict, c.name)
		if verdict == "not ok" {
			code = 1
		}
	}
	os.Exit(code)
}
