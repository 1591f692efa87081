// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestWireForm(t *testing.T) {
	t.Parallel()
	e := FlowError("protect", "Internal error")
	if got, want := e.Error(), "Flow: protect, Error: Internal error"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	want := map[string]any{"flow": "protect", "error": "Internal error", "code": 500}
	if diff := cmp.Diff(want, e.Kwargs()); diff != "" {
		t.Errorf("kwargs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"Flow: protect, Error: Internal error"}, e.Args()); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
}

// A value that looks like a template must not be expanded a second time.
func TestValuesAreNotTemplates(t *testing.T) {
	t.Parallel()
	e := FlowError("%(error)s", "x")
	if got, want := e.Error(), "Flow: %(error)s, Error: x"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestKwargsAreACopy(t *testing.T) {
	t.Parallel()
	e := ProviderNotFound("p")
	e.Kwargs()["provider_id"] = "changed"
	if got := e.Kwargs()["provider_id"]; got != "p" {
		t.Errorf("the caller changed the error: provider_id is %v", got)
	}
}

func TestFromHidesForeignErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp: password=hunter2")
	e := From(fmt.Errorf("connect: %w", cause))
	if e.Class() != "KarborException" || e.Message() != "An unknown exception occurred." {
		t.Errorf("got %s %q", e.Class(), e.Message())
	}
	if !errors.Is(e, cause) {
		t.Error("the cause is lost for the log")
	}
	if got, want := Detail(e), "An unknown exception occurred.: connect: dial tcp: password=hunter2"; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	if From(nil) != nil {
		t.Error("no error became one")
	}
}

func TestIsLooksThroughCauses(t *testing.T) {
	t.Parallel()
	inner := ProtectionPluginNotFound("OS::Nova::Server")
	err := fmt.Errorf("build: %w", FlowError("protect", inner.Message()).WithCause(inner))
	for _, class := range []string{"FlowError", "ProtectionPluginNotFound"} {
		if !Is(err, class) {
			t.Errorf("%s is not found in the chain", class)
		}
	}
	if Is(err, "ProviderNotFound") {
		t.Error("a class that is not in the chain is found")
	}
}

// What a caller has sent comes back in an error, but not all of it.
func TestValuesAreBounded(t *testing.T) {
	t.Parallel()
	err := CheckpointNotFound(strings.Repeat("é", 100_000))
	if n := len(err.Error()); n > 4096 || !utf8.ValidString(err.Error()) {
		t.Errorf("the text has %d bytes", n)
	}
	if value := err.Kwargs()["checkpoint_id"].(string); len(value) > 4096 || !strings.HasSuffix(value, "...") {
		t.Errorf("the value has %d bytes", len(value))
	}
}

// What a user asked for in vain is no failure, whatever code the original gives it.
func TestUserMistake(t *testing.T) {
	t.Parallel()
	for _, e := range []*Error{InvalidInput("x"), CheckpointNotFound("c"), AccessCheckpointNotAllowed("c"), CheckpointNotAvailable("c"),
		CheckpointNotBeDeleted("c"), CheckpointNotBeReset("c"), ProtectableResourceInvalidStatus("t", "i", "error"),
		FlowError("protect", "x").WithCause(fmt.Errorf("making the graph: %w", ProtectionPluginNotFound("t")))} {
		if !e.UserMistake() {
			t.Errorf("%s is none", e.Class())
		}
	}
	for _, e := range []*Error{KarborException(""), FlowError("protect", "x"), BankGetObjectFailed("k", "r"),
		FlowError("protect", "x").WithCause(errors.New("x")), FlowError("protect", "x").WithCause(BankListObjectsFailed("r"))} {
		if e.UserMistake() {
			t.Errorf("%s is one", e.Class())
		}
	}
}
