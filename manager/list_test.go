// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
)

// fourCheckpoints is a manager with four checkpoints: a and b of the caller, made on two days
// from plan-1 and the plan 5, c of another project and plan-1, and d, newest.
func fourCheckpoints(t *testing.T) listed {
	t.Helper()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	b := bank.New(banktest.NewMemory(), nil)
	p, err := providers.New(providers.Definition{ID: "provider", Name: "name", Plugins: []protection.Plugin{noop.New()}, Bank: b})
	if err != nil {
		t.Fatal(err)
	}
	made := checkpoint.NewCollection(b, "provider", checkpoint.Options{Clock: func() time.Time { return now }})
	for _, c := range []struct{ id, plan, project string }{
		{"a", "plan-1", "mine"}, {"b", "5", "mine"}, {"c", "plan-1", "theirs"}, {"d", "plan-1", "mine"},
	} {
		if _, err := made.Create(t.Context(), checkpoint.CreateOptions{ID: c.id, Status: checkpoint.Available,
			Plan: checkpoint.Plan{ID: c.plan, ProviderID: "provider", ProjectID: c.project}}); err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(0, 0, 1)
	}
	kept := journaltest.NewMemory(nil)
	engine := operation.New(operation.Config{Journal: kept, Records: noRecords{}})
	t.Cleanup(func() {
		engine.Stop(context.Background())
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return listed{New(Config{Providers: providers.NewRegistry(p), Operations: engine}), kept}
}

// listed is a manager and its journal.
type listed struct {
	*Manager
	journal *journaltest.Memory
}

// Every argument of the listing of checkpoints in every form in which karbor-api, or
// anybody, may send it. What follows the arrow of want is the class of an error and a
// part of its text.
//
// karbor: services/protection/manager.py list_checkpoints, checkpoint.py list_ids
func TestListCheckpointsArguments(t *testing.T) {
	t.Parallel()
	m := fourCheckpoints(t)
	filter := func(name, value string) string { return fmt.Sprintf(`"filters": {%q: %s}`, name, value) }
	all := func(more string) string { return `"all_tenants": true, ` + more }
	for args, want := range map[string]string{
		``: "a b d",

		filter("plan_id", `null`):        "a b d",
		filter("plan_id", `"plan-1"`):    "a d",
		filter("plan_id", `"none"`):      "",
		filter("plan_id", `""`):          "",
		filter("plan_id", `5`):           "b", // what karbor-api makes of plan_id=5
		filter("plan_id", `5.0`):         "",
		filter("plan_id", `0`):           "",
		filter("plan_id", `true`):        "",
		filter("plan_id", `false`):       "",
		filter("plan_id", `[1]`):         "",
		filter("plan_id", `[]`):          "",
		filter("plan_id", `{}`):          "",
		filter("plan_id", `" plan-1"`):   "",
		filter("plan_id", `"plan-1/"`):   "",
		filter("plan_id", `"plan"`):      "",
		filter("plan_id", `"../x"`):      "",
		filter("plan_id", `"."`):         "",
		filter("plan_id", `"\u0000"`):    "",
		all(filter("plan_id", `""`)):     "",
		all(filter("plan_id", `null`)):   "a b c d",
		all(filter("plan_id", `"none"`)): "",

		filter("project_id", `"theirs"`):      "a b d", // only with all_tenants
		filter("project_id", `null`):          "a b d",
		filter("project_id", `""`):            "",
		all(filter("project_id", `"theirs"`)): "c",
		all(filter("project_id", `"none"`)):   "",
		all(filter("project_id", `null`)):     "a b c d",
		all(filter("project_id", `""`)):       "",
		all(filter("project_id", `[1]`)):      "",
		all(filter("project_id", `7`)):        "",
		all(filter("project_id", `true`)):     "",

		filter("start_date", `null`):                                        "a b d",
		filter("start_date", `""`):                                          "a b d",
		filter("start_date", `false`):                                       "a b d",
		filter("start_date", `0`):                                           "a b d",
		filter("start_date", `[]`):                                          "a b d",
		filter("start_date", `{}`):                                          "a b d",
		filter("start_date", `"2026-11-21"`):                                "b d",
		filter("start_date", `"2026-1-2"`):                                  "a b d",
		filter("start_date", `"nix"`):                                       "-> InvalidInput start_date",
		filter("start_date", `"2026-02-30"`):                                "-> InvalidInput start_date",
		filter("start_date", `"2026-11-21 "`):                               "-> InvalidInput start_date",
		filter("start_date", `"20261121"`):                                  "-> InvalidInput start_date",
		filter("start_date", `20261121`):                                    "-> InvalidInput start_date",
		filter("start_date", `[1]`):                                         "-> InvalidInput filter start_date: want a date of the form YYYY-MM-DD, got a list",
		filter("start_date", `true`):                                        "-> InvalidInput start_date",
		filter("end_date", `"2026-11-20"`):                                  "a b d", // alone it means nothing
		filter("end_date", `"nix"`):                                         "-> InvalidInput end_date",
		filter("end_date", `"2026-13-01"`):                                  "-> InvalidInput end_date",
		filter("end_date", `{"a": 1}`):                                      "-> InvalidInput filter end_date",
		filter("end_date", `7`):                                             "-> InvalidInput end_date",
		filter("end_date", `""`):                                            "a b d",
		filter("end_date", `null`):                                          "a b d",
		`"filters": {"start_date": "2026-11-20", "end_date": "2026-11-21"}`: "a b",
		`"filters": {"start_date": "2026-11-21", "end_date": "2026-11-20"}`: "",
		`"filters": {"start_date": "2026-11-20", "end_date": "nix"}`:        "-> InvalidInput end_date",
		`"filters": {"start_date": "2026-11-21", "plan_id": "plan-1"}`:      "d",
		`"filters": {"start_date": "2026-11-20", "plan_id": ""}`:            "",
		`"filters": {"plan_id": "", "end_date": "nix"}`:                     "-> InvalidInput end_date",
		all(`"filters": {"project_id": "theirs", "plan_id": "plan-1", "start_date": "2026-1-1"}`): "c",

		filter("status", `"error"`): "a b d", // and any other name
		filter("nix", `[1]`):        "a b d",
		`"filters": null`:           "a b d",
		`"filters": {}`:             "a b d",
		`"filters": []`:             "-> InvalidInput argument filters: want an object, got a list",
		`"filters": "x"`:            "-> InvalidInput argument filters: want an object, got a string",

		`"marker": null`:                       "a b d",
		`"marker": "a"`:                        "b d",
		`"marker": "d"`:                        "",
		`"marker": "c"`:                        "-> CheckpointNotFound c", // another project's
		all(`"marker": "c"`):                   "d",
		`"marker": ""`:                         "-> InvalidParameterValue Empty section",
		`"marker": "x"`:                        "-> CheckpointNotFound x",
		`"marker": "a b"`:                      "-> InvalidParameterValue Invalid section",
		`"marker": 1`:                          "-> InvalidInput argument marker: want a string, got a number",
		`"marker": []`:                         "-> InvalidInput argument marker: want a string, got a list",
		`"marker": "a", "sort_dirs": ["desc"]`: "",
		`"marker": "d", "sort_dirs": ["desc"], "limit": 1`: "b",

		`"limit": null`:  "a b d",
		`"limit": 0`:     "a b d",
		`"limit": 2`:     "a b",
		`"limit": "2"`:   "a b",
		`"limit": 99`:    "a b d",
		`"limit": -1`:    "-> InvalidInput argument limit: want a whole number that is not negative, got a number",
		`"limit": 1.5`:   "-> InvalidInput argument limit: want a whole number that is not negative, got a number",
		`"limit": ""`:    "-> InvalidInput argument limit: want a whole number that is not negative, got a string",
		`"limit": "two"`: "-> InvalidInput argument limit: want a whole number that is not negative, got a string",
		`"limit": true`:  "-> InvalidInput argument limit",
		`"limit": [1]`:   "-> InvalidInput argument limit: want a whole number that is not negative, got a list",

		`"sort_dirs": null`:            "a b d",
		`"sort_dirs": []`:              "a b d",
		`"sort_dirs": [null]`:          "a b d",
		`"sort_dirs": ["asc"]`:         "a b d",
		`"sort_dirs": ["desc"]`:        "d b a",
		`"sort_dirs": ["DESC"]`:        "d b a",
		`"sort_dirs": "desc"`:          "d b a",
		`"sort_dirs": ["desc", "asc"]`: "d b a",
		`"sort_dirs": ["up"]`:          `-> InvalidInput argument sort_dirs[0]: want "asc" or "desc", got "up"`,
		`"sort_dirs": "up"`:            `-> InvalidInput argument sort_dirs: want "asc" or "desc", got "up"`,
		`"sort_dirs": ["asc", 5]`:      "-> InvalidInput argument sort_dirs[1]: want a string, got a number",
		`"sort_dirs": [["desc"]]`:      "-> InvalidInput argument sort_dirs[0]: want a string, got a list",
		`"sort_dirs": {}`:              "-> InvalidInput argument sort_dirs: want a list of strings, got an object",
		`"sort_keys": ["created_at"]`:  "a b d",
		`"sort_keys": ["nix"]`:         "a b d",
		`"sort_keys": [5]`:             "-> InvalidInput argument sort_keys[0]: want a string, got a number",
		`"all_tenants": null`:          "a b d",
		`"all_tenants": false`:         "a b d",
		`"all_tenants": true`:          "a b c d",
		`"all_tenants": "yes"`:         "-> InvalidInput argument all_tenants: want true or false, got a string",
		`"nix": 1`:                     "-> InvalidInput unexpected argument nix",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "mine", IsAdmin: true})
			text := `{"provider_id": "provider"`
			if args != "" {
				text += ", " + args
			}
			result, err := m.listCheckpoints(ctx, argumentsOf(t, text+"}"))
			if refused, ok := strings.CutPrefix(want, "-> "); ok {
				class, part, _ := strings.Cut(refused, " ")
				if !fault.Is(err, class) || !strings.Contains(err.Error(), part) {
					t.Errorf("%v, want %s with %q", err, class, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ids := []string{}
			for _, v := range decoded[checkpoint.View](t, result) {
				ids = append(ids, v.ID)
			}
			if got := strings.Join(ids, " "); got != want {
				t.Errorf("listed %q, want %q", got, want)
			}
		})
	}
}

// Filters of providers compare whole values, of one type.
// karbor: services/protection/provider.py list_providers
func TestListProvidersArguments(t *testing.T) {
	t.Parallel()
	m := fourCheckpoints(t)
	for args, want := range map[string]bool{
		``: true, `"marker": null`: true, `"marker": ""`: true, `"marker": "nix"`: true, `"marker": "provider"`: false,
		`"limit": 0`: true, `"limit": 1`: true, `"filters": null`: true, `"filters": {}`: true,
		`"filters": {"name": "name"}`: true, `"filters": {"name": ""}`: false, `"filters": {"name": null}`: false,
		`"filters": {"name": 5}`: false, `"filters": {"name": ["name"]}`: false, `"filters": {"nix": "x"}`: true,
		`"filters": {"description": ""}`: true, `"filters": {"description": null}`: false, `"filters": {"id": "provider", "name": "x"}`: false,
		`"filters": {"id": ""}`: false,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			result, err := m.listProviders(t.Context(), argumentsOf(t, "{"+args+"}"))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%s", result) != "[]"; got != want {
				t.Errorf("listed %t, want %t", got, want)
			}
		})
	}
}

// Version 1.1 tells of a provider whether its bank is up, and why it is not; version 1.0
// answers what it has always answered.
func TestProvidersHaveAState(t *testing.T) {
	t.Parallel()
	m := fourCheckpoints(t)
	var down error
	m.bankError = func(*providers.Provider) error { return down }
	ask := func(version string) string {
		a := argumentsOf(t, "{}")
		a.version = version
		result, err := m.listProviders(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s", result)
	}
	up, first := ask(Version), ask("1.0")
	if !strings.Contains(up, `"state":"up","reason":""`) || strings.Contains(first, "state") {
		t.Errorf("version 1.1 %s\nversion 1.0 %s", up, first)
	}
	down = errors.New("it is away")
	if got := ask(Version); !strings.Contains(got, `"state":"down","reason":"it is away"`) {
		t.Errorf("version 1.1 %s", got)
	}
	if got := ask(""); got != first {
		t.Errorf("version 1.0 %s, want %s", got, first)
	}
}

// A filter of the operations that is given and empty matches none.
func TestListOperationsArguments(t *testing.T) {
	t.Parallel()
	m := fourCheckpoints(t)
	ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "mine"})
	p, err := m.providers.Get("provider")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.journal.Begin(ctx, journal.Entry{ID: "1", Kind: "protect", ProviderID: p.ID, ProjectID: "mine", CheckpointID: "a",
		Claim: journal.Claim{Owner: "other"}}); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]bool{
		``: true, `"provider_id": null`: true, `"provider_id": "provider"`: true, `"provider_id": ""`: false,
		`"checkpoint_id": ""`: false, `"checkpoint_id": "nix"`: false, `"operation_type": "protect"`: true, `"operation_type": ""`: false,
		`"limit": 0`: true, `"unfinished": null`: true,
	} {
		result, err := m.listOperations(ctx, argumentsOf(t, "{"+args+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(decoded[operation.View](t, result)) > 0; got != want {
			t.Errorf("%s: listed %t, want %t", args, got, want)
		}
	}
}

// decoded reads the answer of a listing.
func decoded[T any](t *testing.T, answer any) (list []T) {
	t.Helper()
	if err := json.Unmarshal(answer.(rpc.Encoded), &list); err != nil || list == nil {
		t.Fatalf("%v: %.100s", err, answer)
	}
	return list
}

// Version 1.1 tells the second in which a checkpoint was made. What 1.0 answers stays the original's.
func TestTimestampSinceVersion11(t *testing.T) {
	t.Parallel()
	methods := fourCheckpoints(t).Endpoints()[0].Methods
	made := fmt.Sprintf(`"timestamp":%d`, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).Unix())
	for method, args := range map[string]string{
		"list_checkpoints": `{"provider_id": "provider", "limit": 1}`,
		"show_checkpoint":  `{"provider_id": "provider", "checkpoint_id": "a"}`,
	} {
		for version, tells := range map[string]bool{"": false, "1.0": false, "1.1": true} {
			request := requestOf("mine")
			request.Version, request.Args = version, argumentsOf(t, args).values
			answer, err := methods[method].Handler(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(answer)
			if err != nil || strings.Contains(string(text), made) != tells || strings.Contains(string(text), "timestamp") != tells {
				t.Errorf("%s of version %q: %s, %v", method, version, text, err)
			}
		}
	}
}
