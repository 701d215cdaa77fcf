package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

func newPolicyEditCmd(app *App) *cobra.Command {
	o := &proposeOptions{app: app}
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Change the policy in force in your editor, and propose it",
		Long: `Opens the policy in force in $VISUAL or $EDITOR, checks what you leave, shows what
it changes in effect, and proposes it when you agree. What cannot be used is opened
again. Nothing that you wrote is lost: until it is proposed it stays in a file, and
jit says which.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.edit(cmd.Context()) },
	}
	o.add(cmd)
	return cmd
}

func (o *proposeOptions) edit(ctx context.Context) (err error) {
	a := o.app
	if !a.IO.CanAsk() || a.editor() == "" {
		return failure(exitUsage, "no-editor", "set EDITOR, or write a file: jit policy show > FILE; jit policy propose FILE", "there is no editor to open")
	}
	wait, err := parseFor(o.expires)
	if err != nil {
		return err
	}
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	before, err := record.Encode(d.policy().Document().Body)
	if err != nil {
		return err
	}
	dr, err := a.newDraft("policy", before)
	if err != nil {
		return err
	}
	body, err := o.edited(ctx, d, dr)
	if err == nil && body == nil {
		a.Say("nothing was changed")
		return dr.discard()
	}
	if err == nil {
		err = o.propose(ctx, d, body, "changes the policy", wait.Duration)
	}
	if err != nil {
		return dr.keep(a, err)
	}
	return dr.discard()
}

// edited opens the editor on the draft, again and again until what it leaves can
// be used or the person gives up. The body is nil where nothing was changed.
func (o *proposeOptions) edited(ctx context.Context, d *desk, dr *draft) (*policy.Body, error) {
	a := o.app
	for {
		if err := a.runEditor(dr.file); err != nil {
			return nil, err
		}
		text, err := dr.read()
		if err != nil {
			return nil, err
		}
		if string(text) == string(dr.before) {
			return nil, nil //nolint:nilnil // nothing was changed
		}
		var body policy.Body
		if err = record.DecodeStrict(text, &body); err != nil {
			err = fileRefusal(dr.file, err)
		} else {
			err = checkBody(dr.file, text, &body)
		}
		if err == nil {
			a.warnOf(dr.file, text, &body, &d.policy().Document().Body)
			return &body, d.warnOfSubkeys(&body)
		}
		a.printError(a.asExit(ctx, err), false)
		again, askErr := a.Confirm("Edit it again?")
		if askErr != nil {
			return nil, askErr
		}
		if !again {
			return nil, &exitError{Exit: exitUsage, Code: string(policy.BadPolicy), Message: "nothing was proposed", Err: err}
		}
	}
}

// draft is a text that a person edits, in a file that outlives the command unless
// it is discarded.
type draft struct {
	file   string
	before []byte
}

// newDraft begins a draft with a text. The file lies beside the state, where
// nothing removes it but this program.
func (a *App) newDraft(name string, before []byte) (*draft, error) {
	f, err := a.folders()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(f.state, "drafts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, name+"-*.yaml")
	if err != nil {
		return nil, err
	}
	_, err = file.Write(before)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return &draft{file: file.Name(), before: before}, nil
}

func (d *draft) read() ([]byte, error) {
	text, err := readFileUpTo(d.file, record.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("what the editor left cannot be read: %w", err)
	}
	return withoutMark(text), nil
}

// discard removes the file: what it held is in force, proposed, or nothing new.
func (d *draft) discard() error { return os.Remove(d.file) }

// keep adds to err where the draft is kept, where there is anything to keep.
func (d *draft) keep(a *App, err error) error {
	if text, readErr := d.read(); readErr == nil && string(text) == string(d.before) {
		return errors.Join(err, d.discard())
	}
	a.Say("What you wrote is kept. To go on with it, correct it and run:\n  jit policy propose %s", d.file)
	return err
}
