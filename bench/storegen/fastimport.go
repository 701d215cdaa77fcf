package storegen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

func readerOf(data []byte) io.Reader { return bytes.NewReader(data) }

// file is one file of a commit.
type file struct {
	path string
	data []byte
}

// commit is one commit of the history.
type commit struct {
	by      string
	at      time.Time
	subject string
	request record.ID // the one it is about, or ""
	drafts  []draft
	files   []file
}

// fastImport is a running `git fast-import` (git-fast-import(1)).
type fastImport struct {
	cmd   *exec.Cmd
	in    *bufio.Writer
	pipe  io.Closer
	out   *bufio.Reader
	errs  bytes.Buffer
	count int
}

const branch = "refs/heads/main"

func startImport(ctx context.Context, dir string) (*fastImport, error) {
	if out, err := exec.CommandContext(ctx, "git", "init", "--quiet", "--bare", "--initial-branch=main", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("git init: %w: %s", err, out)
	}
	return resumeImport(ctx, dir)
}

// resumeImport goes on in a repository that is there.
func resumeImport(ctx context.Context, dir string) (*fastImport, error) {
	f := &fastImport{cmd: exec.CommandContext(ctx, "git", "--git-dir="+dir, "fast-import", "--quiet", "--done", "--depth=50")}
	f.cmd.Stderr = &f.errs
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.in, f.pipe, f.out = bufio.NewWriterSize(in, 1<<20), in, bufio.NewReader(out)
	return f, f.cmd.Start()
}

// hash asks for the name of the newest commit.
func (f *fastImport) hash() (string, error) {
	fmt.Fprintf(f.in, "get-mark :%d\n", f.count)
	return f.answer()
}

// answer reads one line of what was asked last.
func (f *fastImport) answer() (string, error) {
	if err := f.in.Flush(); err != nil {
		return "", errors.Join(err, errors.New(f.errs.String()))
	}
	line, err := f.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("git fast-import: %w: %s", err, f.errs.String())
	}
	return strings.TrimSpace(line), nil
}

func (f *fastImport) close() error {
	fmt.Fprint(f.in, "done\n")
	err := errors.Join(f.in.Flush(), f.pipe.Close())
	if e := f.cmd.Wait(); e != nil {
		err = errors.Join(err, fmt.Errorf("git fast-import: %w: %s", e, f.errs.String()))
	}
	return err
}

func (f *fastImport) file(path string, data []byte) { f.fileOf("100644", path, data) }

func (f *fastImport) fileOf(mode, path string, data []byte) {
	fmt.Fprintf(f.in, "M %s inline %s\ndata %d\n", mode, path, len(data))
	_, _ = f.in.Write(data) // an error stays in the writer, and Flush gives it
	_ = f.in.WriteByte('\n')
}

// commit writes a commit, and gives its name to the records that come next.
func (w *writer) commit(c commit) error {
	f := w.imp
	f.count++
	kind := "policy"
	if len(c.drafts) > 0 {
		kind = strings.TrimSuffix(c.drafts[0].path[strings.LastIndexByte(c.drafts[0].path, '/')+1:], ".yaml")
		if at := strings.IndexByte(kind, '.'); at >= 0 {
			kind = kind[at+1:]
		}
	}
	message := c.subject + "\n\nJit-Kind: " + kind + "\n"
	if c.request != "" {
		message += "Jit-Request: " + string(c.request) + "\n"
	}
	message += "Jit-By: " + c.by + "\n"
	who := fmt.Sprintf("%s <%s@example.com> %d +0000", c.by, c.by, c.at.Unix())
	fmt.Fprintf(f.in, "commit %s\nmark :%d\nauthor %s\ncommitter %s\ndata %d\n%s", branch, f.count, who, who, len(message), message)
	switch {
	case w.before != "":
		fmt.Fprintf(f.in, "from %s\n", w.before)
	case w.head != "":
		fmt.Fprintf(f.in, "from :%d\n", f.count-1) // its pack has no names yet
	}
	for _, d := range c.drafts {
		f.file(d.path, d.data)
		f.file(record.SignaturePath(d.path), d.sig)
		w.s.Records++
	}
	for _, x := range c.files {
		f.file(x.path, x.data)
	}
	w.s.Commits++
	var err error
	if w.head, err = f.hash(); err != nil || !w.s.o.SignCommits {
		return err
	}
	return w.signCommit(c, who, message)
}

// signCommit puts a signed commit of the same tree in the place of the newest.
// git fast-import signs nothing itself.
func (w *writer) signCommit(c commit, who, message string) error {
	f := w.imp
	fmt.Fprintf(f.in, "ls :%d \"\"\n", f.count)
	line, err := f.answer()
	if err != nil {
		return err
	}
	tree, ok := strings.CutPrefix(line, "040000 tree ")
	if !ok {
		return fmt.Errorf("git fast-import: ls answers %q", line)
	}
	head := "tree " + tree + "\n"
	if w.before != "" {
		head += "parent " + w.before + "\n"
	}
	head += "author " + who + "\ncommitter " + who + "\n"
	s, err := w.s.people[c.by].signer(c.at)
	if err != nil {
		return err
	}
	sig, err := s.Sign(context.Background(), []byte(head+"\n"+message))
	if err != nil {
		return err
	}
	cmd := exec.Command("git", "--git-dir="+w.s.Dir, "hash-object", "-t", "commit", "-w", "--stdin")
	cmd.Stdin = strings.NewReader(head + "gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(sig)), "\n", "\n ") + "\n\n" + message)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git hash-object: %w", err)
	}
	w.head = strings.TrimSpace(string(out))
	w.before = w.head
	fmt.Fprintf(f.in, "reset %s\nfrom %s\n\n", branch, w.head)
	return nil
}
