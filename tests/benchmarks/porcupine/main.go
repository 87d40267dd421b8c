// Porcupine on a cas-register's history, for the benchmark beside it: how long it takes, without
// the reading. The histories are Jepsen log lines (*.log) or the harness's own (*.jsonl).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const absent = -1 << 40

type call struct{ f, expected, new int } // f: 0 read, 1 write, 2 cas

type answer struct {
	known, done bool
	value       int
}

// The model of Porcupine's own test of these logs (porcupine_test.go, etcd).
var register = porcupine.Model{
	Init: func() interface{} { return absent },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		now, in, out := state.(int), input.(call), output.(answer)
		switch in.f {
		case 0:
			return !out.known || out.value == now, now
		case 1:
			return true, in.new
		}
		if now == in.expected {
			return out.done || !out.known, in.new
		}
		return !out.done || !out.known, now
	},
}

type line struct {
	process  int
	kind, f  string
	value    interface{}
	expected int
}

func main() {
	timeout, err := time.ParseDuration(os.Args[1])
	fatal(err)
	repeats, err := strconv.Atoi(os.Args[2])
	fatal(err)
	for _, path := range os.Args[3:] {
		events := read(path)
		best, result := time.Duration(1<<62), porcupine.Unknown
		for i := 0; i < repeats; i++ {
			began := time.Now()
			result = porcupine.CheckEventsTimeout(register, events, timeout)
			if took := time.Since(began); took < best {
				best = took
			}
		}
		fmt.Printf("%s\t%s\t%.6f\n", path, result, best.Seconds())
	}
}

func read(path string) []porcupine.Event {
	file, err := os.Open(path)
	fatal(err)
	defer file.Close()
	scanner := bufio.NewScanner(file)
	parse := parseLog
	if strings.HasSuffix(path, ".jsonl") {
		parse = parseJSON
	}
	var events []porcupine.Event
	open := map[int]int{}
	calls := 0
	for scanner.Scan() {
		one, ok := parse(scanner.Bytes())
		if !ok {
			continue
		}
		if one.kind == "invoke" {
			open[one.process] = calls
			input := call{f: map[string]int{"read": 0, "write": 1, "cas": 2}[one.f], expected: one.expected}
			if value, given := one.value.(int); given {
				input.new = value
			}
			events = append(events, porcupine.Event{
				ClientId: one.process, Kind: porcupine.CallEvent, Value: input, Id: calls})
			calls++
			continue
		}
		if one.kind == "info" {
			continue // (open until the end: it may have happened at any time)
		}
		output := answer{known: one.kind == "ok" || one.f != "read", done: one.kind == "ok", value: absent}
		if value, given := one.value.(int); given {
			output.value = value
		}
		events = append(events, porcupine.Event{
			ClientId: one.process, Kind: porcupine.ReturnEvent, Value: output, Id: open[one.process]})
		delete(open, one.process)
	}
	fatal(scanner.Err())
	for process, id := range open {
		events = append(events, porcupine.Event{
			ClientId: process, Kind: porcupine.ReturnEvent, Value: answer{}, Id: id})
	}
	return events
}

var logged = regexp.MustCompile(`^INFO +jepsen\.util - (\d+)\t:(\w+)\t:(\w+)\t(?:\[(-?\d+) (-?\d+)\]|(-?\d+)|.*)$`)

func parseLog(text []byte) (line, bool) {
	found := logged.FindSubmatch(text)
	if found == nil {
		return line{}, false
	}
	one := line{kind: string(found[2]), f: string(found[3])}
	one.process, _ = strconv.Atoi(string(found[1]))
	if len(found[4]) > 0 {
		one.expected, _ = strconv.Atoi(string(found[4]))
		found[6] = found[5]
	}
	if value, err := strconv.Atoi(string(found[6])); err == nil {
		one.value = value
	}
	return one, true
}

func parseJSON(text []byte) (line, bool) {
	var record struct {
		Process int
		Type, F string
		Value   json.RawMessage
	}
	fatal(json.Unmarshal(text, &record))
	one := line{process: record.Process, kind: record.Type, f: record.F}
	var pair []int
	if json.Unmarshal(record.Value, &pair) == nil && len(pair) == 2 {
		one.expected, one.value = pair[0], pair[1]
	} else if value, err := strconv.Atoi(string(record.Value)); err == nil {
		one.value = value
	}
	return one, true
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
