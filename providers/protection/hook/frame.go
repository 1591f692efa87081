// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// Clean removes the things that a failed hook has made; its error names the things that
// are left. failed wraps the cause of the hook's context if that has ended. ctx is a
// context of its own, which has not.
type Clean func(ctx context.Context, c *protection.Call, failed error) error

// Frame is what the hooks of a plugin have in common.
type Frame struct {
	// Title is the plugin's name in error texts, "Volume Backup", and Verified its
	// name in the errors of a Verify, "Volume backup". Protected, unless it is empty,
	// is its name in the errors of a Protect.
	Title, Verified, Protected string
	// Objects are the keys of what a plugin keeps in the bank beside status, metadata and
	// data, which a listing may lack.
	Objects []string
	// Schemas say which parameters the plugin takes.
	Schemas protection.Schemas
}

// Protect returns a hook of a Protect that does work after the status in the bank
// is "protecting"; in the last hook it is "available" in the end. When the hook
// fails clean removes what it made, in the time that is left for that, and the
// status is "error". The work is done when it returns nil, even if ctx has ended.
func (f Frame) Protect(last bool, work protection.Hook, clean Clean) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		err := c.PutStatus(ctx, protection.StatusProtecting)
		if err == nil {
			err = c.Parameters.Check(f.Schemas.Options)
		}
		if err == nil {
			err = work(ctx, c)
		}
		if err == nil && last {
			err = Finish(ctx, func(ctx context.Context) error { return c.PutStatus(ctx, protection.StatusAvailable) })
		}
		if err == nil {
			return nil
		}
		text, err := cleaned(ctx, c, err, clean)
		if again := protection.Handover(ctx, err); again != nil {
			return again
		}
		c.PutError(ctx)
		if fault.Is(err, "InvalidInput") {
			return err
		}
		return fault.CreateResourceFailed(cmp.Or(f.Protected, f.Title), text, c.Resource.ID, c.Resource.Type).WithCause(err)
	}
}

// Restore returns the hook of a Restore. restore restores the resource and returns
// the id of the new one, also with an error if there was one for a while. When that
// fails, undo deletes the new resource, in the time that is left for that. Remarks are the
// reason beside the status "available".
func (f Frame) Restore(restore func(context.Context, *protection.Call) (string, error), undo protection.Hook) protection.Hook {
	clean := func(ctx context.Context, c *protection.Call, _ error) error { return undo(ctx, c) }
	return func(ctx context.Context, c *protection.Call) error {
		err := c.CheckBackup(ctx)
		if err == nil {
			err = c.Parameters.Check(f.Schemas.Restoring())
		}
		id := ""
		if err == nil {
			id, err = restore(ctx, c)
		}
		if err == nil {
			err = c.UpdateStatus(ctx, id, protection.StatusAvailable, c.Remarked())
		}
		if err == nil {
			c.NewResources.Set(c.Resource.ID, id)
			return nil
		}
		text, err := cleaned(ctx, c, err, clean)
		if again := protection.Handover(ctx, err); again != nil {
			return again
		}
		if id == "" {
			id = c.Resource.ID
		}
		after, cancel := protection.Cleanup(ctx)
		defer cancel()
		if recordErr := c.UpdateStatus(after, id, protection.StatusError, text); recordErr != nil {
			c.Logger().Warn(fault.Detail(recordErr))
		}
		if fault.Is(err, "InvalidInput") {
			return err
		}
		return fault.RestoreResourceFailed(f.Title, text, c.Resource.ID, c.Resource.Type).WithCause(err)
	}
}

// Plan returns the Plan of a Restore, of work that is begun as a restore is.
func (f Frame) Plan(work func(context.Context, *protection.Call) (map[string]string, error)) func(context.Context, *protection.Call) (map[string]string, error) {
	return func(ctx context.Context, c *protection.Call) (map[string]string, error) {
		err := c.CheckBackup(ctx)
		if err == nil {
			err = c.Parameters.Check(f.Schemas.Restoring())
		}
		var makes map[string]string
		if err == nil {
			makes, err = work(ctx, c)
		}
		if err == nil || fault.Is(err, "InvalidInput") {
			return makes, err
		}
		return nil, fault.RestoreResourceFailed(f.Title, Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
	}
}

// UndoRestore returns the Undo of a Restore. undo deletes the new resource.
func (f Frame) UndoRestore(undo protection.Hook) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		return f.deleteFailed(ctx, c, undo(ctx, c), nil)
	}
}

// Finish does what cannot be taken back any more. If ctx ends meanwhile, it is
// done again in the time that is left for that, unless the work is handed over.
func Finish(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if err == nil || ctx.Err() == nil || protection.Handover(ctx, err) != nil {
		return err
	}
	ctx, cancel := protection.Cleanup(ctx)
	defer cancel()
	return do(ctx)
}

// cleaned runs clean after a failure, unless the work is handed over. It returns the text
// for users, which names leftovers, and the error.
func cleaned(ctx context.Context, c *protection.Call, err error, clean Clean) (string, error) {
	if protection.Handover(ctx, err) != nil {
		return "", err
	}
	err = protection.Because(ctx, err)
	text := Reason(err)
	after, cancel := protection.Cleanup(ctx)
	defer cancel()
	left := clean(after, c, err)
	if left == nil {
		return text, err
	}
	if again := protection.Handover(after, left); again != nil {
		return "", again
	}
	return text + "; " + Reason(left), errors.Join(err, left)
}

// Removal removes what a backup is made of besides status and metadata. was is the
// status that the resource had before.
type Removal func(ctx context.Context, c *protection.Call, was string) error

// Delete returns the hook of a Delete. Once work has removed the rest, the metadata
// goes, and the status becomes "deleted".
func (f Frame) Delete(work Removal) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		return f.deleteFailed(ctx, c, f.remove(ctx, c, work), c.PutError)
	}
}

func (f Frame) remove(ctx context.Context, c *protection.Call, work Removal) error {
	if err := c.CheckSection(); err != nil {
		return err
	}
	was, err := c.Section.GetText(ctx, protection.StatusKey)
	if err != nil && !errors.Is(err, bank.ErrNotFound) {
		return err
	}
	if err := c.PutStatus(ctx, protection.StatusDeleting); err != nil {
		return err
	}
	if err := c.Section.Check(ctx); errors.Is(err, bank.ErrAltered) {
		// What the metadata name may be another's. What was made for the checkpoint is
		// looked for as after a protection that did not finish.
		c.Logger().Warnf("%s is deleted without its metadata: %s", c.Resource.Key(), fault.Detail(err))
		was = protection.StatusError
	} else if err != nil {
		return err
	}
	if err := work(ctx, c, was); err != nil {
		return err
	}
	if err := c.DeleteKeys(ctx, append([]string{protection.MetadataKey}, f.Objects...)); err != nil {
		return err
	}
	return c.PutStatus(ctx, protection.StatusDeleted)
}

// deleteFailed is what a hook returns that has deleted something, or failed to with
// err. record, which may be nil, is called in the latter case.
func (f Frame) deleteFailed(ctx context.Context, c *protection.Call, err error, record func(context.Context)) error {
	if err == nil {
		return nil
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	if record != nil {
		record(ctx)
	}
	err = protection.Because(ctx, err)
	return fault.DeleteResourceFailed(f.Title, Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
}

// Unfinished reports whether a resource in a status may have more at the service
// than its metadata names: its protection, or its deletion, was not finished.
func Unfinished(was string) bool {
	switch was {
	case protection.StatusProtecting, protection.StatusError, protection.StatusDeleting:
		return true
	}
	return false
}

// Look returns the status of a backup's parts, and a reason if it is not "available". An error comes with the reason that is recorded.
type Look func(context.Context, *protection.Call) (status, reason string, err error)

// Verify returns the hook of a Verify, which records what look finds. With parameters
// that the plugin does not take it records that nothing was verified.
func (f Frame) Verify(look Look) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		err := c.Parameters.Check(f.Schemas.Verify)
		if err != nil {
			if recordErr := c.UpdateStatus(ctx, c.Resource.ID, protection.StatusError, fault.From(err).Message()); recordErr != nil {
				return protection.Because(ctx, recordErr)
			}
			return err
		}
		err = c.CheckBackup(ctx)
		status, reason := protection.StatusError, ""
		if err == nil {
			status, reason, err = look(ctx, c)
		} else {
			reason = fault.From(err).Message()
		}
		if again := protection.Handover(ctx, err); again != nil {
			return again
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // nothing was found out about the backup
		}
		if recordErr := c.UpdateStatus(ctx, c.Resource.ID, status, reason); recordErr != nil {
			return protection.Because(ctx, recordErr)
		}
		if status == protection.StatusAvailable && err == nil {
			return nil
		}
		return fault.VerifyResourceFailed(f.Verified, reason, c.Resource.ID, c.Resource.Type).WithCause(err)
	}
}

// Metadata reads the resource's metadata into v, a pointer. found is false if
// there is none, or another than the one that a signed checkpoint has.
func Metadata(ctx context.Context, c *protection.Call, v any) (found bool, err error) {
	text, err := c.Section.GetBytes(ctx, protection.MetadataKey)
	if errors.Is(err, bank.ErrNotFound) || errors.Is(err, bank.ErrAltered) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, &Failure{Text: "The metadata of the backup is not readable.", Err: err}
	}
	return true, nil
}

// RestoreName returns the name that the user wants for the restored resource, or else one
// that names the checkpoint it is restored from.
func RestoreName(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return c.Checkpoint.ID() + "@" + c.Resource.ID
}
