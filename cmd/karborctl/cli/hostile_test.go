// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

// hostile moves a cursor, rings, sets a title, turns the writing direction and
// begins a line.
const hostile = "\x1b[2J\a\x1b]0;t\a\u009b31m\u202e\u2066\x7f\r\n\u2028\u2029 end"

// What a worker tells of others' names, reasons and ids reaches no terminal as it
// is, on either output and in any format.
func TestTextsOfStrangersAreNotObeyed(t *testing.T) {
	t.Parallel()
	answers := func(answer any, err error) rpc.Method {
		return rpc.Method{Handler: func(context.Context, *rpc.Request) (any, error) { return answer, err }}
	}
	remarks := []any{map[string]any{"resource": map[string]any{"type": hostile, "id": hostile}, "aspect": hostile, "was": hostile, "is": hostile, "why": hostile}}
	operation := map[string]any{"id": hostile, "type": hostile, "status": "failed", "ended_at": noon, "reason": hostile, "plan_id": hostile,
		"resources": []any{map[string]any{"type": hostile, "id": hostile, "name": hostile, "hook": hostile, "state": "failed", "error": hostile}}, "remarks": remarks}
	graph, err := json.Marshal([]any{map[string]any{"0x0": []any{hostile, hostile, hostile, nil}}, []any{}})
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := map[string]any{"id": hostile, "status": "available", "project_id": hostile, "resource_graph": string(graph),
		"protection_plan": map[string]any{"id": hostile, "name": hostile, "resources": []any{}}, "remarks": remarks}
	c := newTool(t,
		rpc.Endpoint{Version: "1.1", Methods: map[string]rpc.Method{
			"list_checkpoints":           answers([]any{checkpoint}, nil),
			"show_checkpoint":            answers(checkpoint, nil),
			"delete":                     answers(nil, fault.InvalidInput(hostile)),
			"list_providers":             answers([]any{map[string]any{"id": "p", "name": hostile}}, nil),
			"show_protectable_instance":  answers(map[string]any{"id": "1"}, nil),
			"protect":                    answers("c1", nil),
			"list_protectable_instances": answers([]any{map[string]any{"type": hostile, "id": hostile, "name": hostile, "extra_info": map[string]any{hostile: hostile}}}, nil),
		}},
		rpc.Endpoint{Version: "1.1", Methods: map[string]rpc.Method{
			"list_operations": answers([]any{operation}, nil),
			"show_operation":  answers(operation, nil),
		}},
		rpc.Endpoint{Namespace: "n", Methods: map[string]rpc.Method{
			"text": answers(hostile, nil), "failure": answers(nil, &rpc.Failure{Class: hostile, Message: hostile}),
		}})
	c.columns = 200
	for _, command := range []string{
		"checkpoint list p", "checkpoint show p c1", "checkpoint delete p c1", "operation list", "operation show o", "operation watch o",
		"protectable list volume", "checkpoint create p --resource volume=1 --wait",
		"rpc call text --namespace n", "rpc call failure --namespace n",
	} {
		for _, format := range []string{"table", "json", "value"} {
			got := c.run(t.Context(), append(strings.Fields(command), "-f", format)...)
			text := got.out + got.err
			if !strings.Contains(text, "end") {
				t.Errorf("%s -f %s shows nothing of it: %+v", command, format, got)
			}
			// The picture is drawn anew by these alone.
			for _, own := range []string{"\x1b[1A", "\x1b[2A", "\x1b[3A", "\r\x1b[J"} {
				text = strings.ReplaceAll(text, own, "")
			}
			for _, r := range text {
				if r != '\n' && !unicode.IsGraphic(r) {
					t.Errorf("%s -f %s: %U is in %q", command, format, r, text)
					break
				}
			}
			if strings.Count(got.out, "\n") > 1 && strings.Contains(got.out, "\n end") {
				t.Errorf("%s -f %s: a text begins a line: %q", command, format, got.out)
			}
			if format == "json" && got.code == ExitOK && !strings.Contains(command, "watch") {
				var value any
				if err := json.Unmarshal([]byte(got.out), &value); err != nil {
					t.Errorf("%s: %v", command, err)
				} else if again, _ := json.Marshal(value); !strings.Contains(decoded(value), hostile) {
					t.Errorf("%s: the answer has changed: %s", command, again)
				}
			}
		}
	}
}

// decoded joins all texts of a JSON value.
func decoded(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case []any:
		var all string
		for _, v := range value {
			all += decoded(v)
		}
		return all
	case map[string]any:
		var all string
		for k, v := range value {
			all += k + decoded(v)
		}
		return all
	}
	return ""
}
