package gitstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/internal/owned"
)

// TestFolderOfOthers: where others could have put a hook, or what names a program, into the
// remote's folder, an isolated store neither asks it nor sends anything there, and nothing
// of it runs.
func TestFolderOfOthers(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	for name, c := range map[string]struct {
		spoil func(repository, trap string) error
		want  owned.Reason // of the refusal; "" for none
	}{
		"nothing":            {func(string, string) error { return nil }, ""},
		"the folder open":    {func(r, _ string) error { return os.Chmod(r, 0o770) }, owned.Writable},
		"the parent open":    {func(r, _ string) error { return os.Chmod(filepath.Dir(r), 0o757) }, owned.Writable},
		"the parent a link":  {func(r, _ string) error { return moved(filepath.Dir(r)) }, ""},
		"the folder foreign": {func(r, _ string) error { return os.Chown(r, nobody, nobody) }, owned.Foreign},
		"the hooks open":     {func(r, _ string) error { return os.Chmod(filepath.Join(r, "hooks"), 0o777) }, owned.Writable},
		"one hook open":      {func(r, _ string) error { return os.Chmod(filepath.Join(r, "hooks", "post-receive"), 0o775) }, owned.Writable},
		"one hook foreign":   {func(r, _ string) error { return os.Chown(filepath.Join(r, "hooks", "post-receive"), nobody, nobody) }, owned.Foreign},
		"the settings open":  {func(r, _ string) error { return os.Chmod(filepath.Join(r, "config"), 0o666) }, owned.Writable},
		"the objects open":   {func(r, _ string) error { return os.Chmod(filepath.Join(r, "objects"), 0o777) }, owned.Writable},
		"a hook by a link": {func(r, trap string) error {
			elsewhere := filepath.Join(filepath.Dir(trap), "elsewhere")
			at := filepath.Join(r, "hooks", "post-receive")
			return errors.Join(os.Mkdir(elsewhere, 0o700), os.Rename(at, filepath.Join(elsewhere, "hook")), os.Chmod(elsewhere, 0o777), os.Symlink(filepath.Join(elsewhere, "hook"), at))
		}, owned.Writable},
		"settings of another": {func(r, _ string) error {
			return os.WriteFile(filepath.Join(r, "commondir"), []byte("../other\n"), 0o600)
		}, owned.Kind},
		"hooks elsewhere": {func(r, trap string) error {
			return settings(r, "[core]\n\tHooksPath = "+filepath.Join(r, "hooks")+"\n")
		}, owned.Kind},
		"settings elsewhere": {func(r, trap string) error {
			return settings(r, "[includeIf \"gitdir:**\"]\n\tpath = "+filepath.Dir(trap)+"/more\n")
		}, owned.Kind},
		"another in its place": {func(r, _ string) error {
			return os.WriteFile(filepath.Join(r, ".git"), []byte("gitdir: ../other\n"), 0o600)
		}, owned.Kind},
		"another name is taken": {func(r, _ string) error { return os.Mkdir(r+".git", 0o777) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.want == owned.Foreign && os.Geteuid() != 0 {
				t.Log("not root: nothing can be given to somebody else here")
				return
			}
			path := bare(t)
			initStore(t, Options{URL: path, Isolated: true})
			s := openStore(t, Options{URL: path, Isolated: true})
			trap := filepath.Join(t.TempDir(), "trap")
			hook := filepath.Join(path, "hooks", "post-receive")
			err := errors.Join(os.MkdirAll(filepath.Dir(hook), 0o755), os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+trap+"\n"), 0o700), c.spoil(path, trap))
			if err != nil {
				t.Fatal(err)
			}
			_, fetched := s.Fetch(testContext(t))
			_, pushed := s.Append(testContext(t), add("two", "x"), nil)
			for op, err := range map[string]error{"fetch": fetched, "push": pushed} {
				e, _ := errors.AsType[*owned.Error](err)
				switch {
				case c.want == "":
					if err != nil {
						t.Errorf("%s: %v", op, err)
					}
				case !errors.Is(err, ErrNotOurs) || !errors.Is(err, ErrUnreachable) || e == nil || e.Reason != c.want:
					t.Errorf("%s: %v, want %q", op, err, c.want)
				}
			}
			if ran := exists(trap); ran != (c.want == "") {
				t.Errorf("the hook ran: %v", ran)
			}
		})
	}
}

// settings adds to a repository's configuration.
func settings(repository, more string) error {
	f, err := os.OpenFile(filepath.Join(repository, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more)
	return errors.Join(err, f.Close())
}

// moved puts a link in the place of a folder.
func moved(path string) error {
	return errors.Join(os.Rename(path, path+".there"), os.Symlink(path+".there", path))
}

// TestFolderWithoutARepository: git would take another one of a like name.
func TestFolderWithoutARepository(t *testing.T) {
	t.Parallel()
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	s := openStore(t, Options{URL: path, Isolated: true})
	if err := errors.Join(os.Rename(path, path+".git"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrUnreachable) || !errors.Is(err, errNoRepository) || errors.Is(err, ErrNotOurs) {
		t.Errorf("%v", err)
	}
}
