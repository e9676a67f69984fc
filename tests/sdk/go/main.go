// Command driver drives the Harness Go SDK: JSON lines in, JSON lines out (see tests/sdk/README.md).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	harness "github.com/harness/ff-golang-server-sdk/client"
	"github.com/harness/ff-golang-server-sdk/evaluation"
	"github.com/harness/ff-golang-server-sdk/logger"
	"github.com/harness/ff-golang-server-sdk/types"
)

type options struct {
	APIKey      string `json:"apiKey"`
	BaseURL     string `json:"baseUrl"`
	EventsURL   string `json:"eventsUrl"`
	Stream      bool   `json:"stream"`
	PollSeconds uint   `json:"pollSeconds"`
}

type target struct {
	Identifier string                  `json:"identifier"`
	Name       string                  `json:"name"`
	Anonymous  *bool                   `json:"anonymous"`
	Attributes *map[string]interface{} `json:"attributes"`
}

type command struct {
	ID      int             `json:"id"`
	Cmd     string          `json:"cmd"`
	Kind    string          `json:"kind"`
	Flag    string          `json:"flag"`
	Target  target          `json:"target"`
	Default json.RawMessage `json:"default"`
}

// output writes one whole line at a time, from any goroutine.
type output struct{ mutex sync.Mutex }

func (o *output) emit(message map[string]interface{}) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	fmt.Println(string(line))
}

// loggedEvents: the SDK offers no events, its numbered log codes are its public account of what happens.
var loggedEvents = map[string]string{"SDKCODE:5000": "streaming", "SDKCODE:5001": "disconnected"}

type codeLogger struct {
	logger.NoOpLogger
	out *output
}

func (l codeLogger) note(text string) {
	fmt.Fprintln(os.Stderr, text)
	for code, event := range loggedEvents {
		if strings.Contains(text, code) {
			l.out.emit(map[string]interface{}{"event": event})
		}
	}
}

func (l codeLogger) Info(args ...interface{})                  { l.note(fmt.Sprint(args...)) }
func (l codeLogger) Infof(format string, args ...interface{})  { l.note(fmt.Sprintf(format, args...)) }
func (l codeLogger) Warn(args ...interface{})                  { l.note(fmt.Sprint(args...)) }
func (l codeLogger) Warnf(format string, args ...interface{})  { l.note(fmt.Sprintf(format, args...)) }
func (l codeLogger) Error(args ...interface{})                 { l.note(fmt.Sprint(args...)) }
func (l codeLogger) Errorf(format string, args ...interface{}) { l.note(fmt.Sprintf(format, args...)) }

// answer is the value that the SDK gives for a variation command: the default, if it reports an error.
func answer(client *harness.CfClient, cmd command) (interface{}, error) {
	who := &evaluation.Target{
		Identifier: cmd.Target.Identifier,
		Name:       cmd.Target.Name,
		Anonymous:  cmd.Target.Anonymous,
		Attributes: cmd.Target.Attributes,
	}
	switch cmd.Kind {
	case "boolean":
		return ask(client.BoolVariation, cmd, who)
	case "string":
		return ask(client.StringVariation, cmd, who)
	case "int":
		return ask(client.IntVariation, cmd, who)
	case "number":
		return ask(client.NumberVariation, cmd, who)
	case "json":
		return ask(client.JSONVariation, cmd, who)
	}
	return nil, fmt.Errorf("unknown kind %q", cmd.Kind)
}

func ask[T bool | string | int64 | float64 | types.JSON](
	variation func(string, *evaluation.Target, T) (T, error), cmd command, who *evaluation.Target,
) (interface{}, error) {
	var fallback T
	if err := json.Unmarshal(cmd.Default, &fallback); err != nil {
		return nil, err
	}
	value, err := variation(cmd.Flag, who, fallback)
	if err != nil {
		fmt.Fprintln(os.Stderr, err) // with the default in value, as an application sees it
	}
	return value, nil
}

func main() {
	out := &output{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var opts options
	if err := json.Unmarshal(lines.Bytes(), &opts); err != nil {
		panic(err)
	}
	configuration := []harness.ConfigOption{
		harness.WithURL(opts.BaseURL),
		harness.WithEventsURL(opts.EventsURL),
		harness.WithStreamEnabled(opts.Stream),
		harness.WithPullInterval(opts.PollSeconds),
		harness.WithStoreEnabled(false),
		harness.WithWaitForInitialized(true),
		harness.WithLogger(codeLogger{out: out}),
	}
	client, err := harness.NewCfClient(opts.APIKey, configuration...)
	if err != nil {
		out.emit(map[string]interface{}{"event": "failed", "error": err.Error()})
	} else {
		out.emit(map[string]interface{}{"event": "ready"})
	}
	for lines.Scan() {
		var cmd command
		if err := json.Unmarshal(lines.Bytes(), &cmd); err != nil {
			panic(err)
		}
		if cmd.Cmd == "close" {
			if err := client.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			out.emit(map[string]interface{}{"id": cmd.ID, "result": nil})
			return
		}
		value, err := answer(client, cmd)
		if err != nil {
			out.emit(map[string]interface{}{"id": cmd.ID, "error": err.Error()})
		} else {
			out.emit(map[string]interface{}{"id": cmd.ID, "result": value})
		}
	}
}
