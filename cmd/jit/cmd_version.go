package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/record"
)

// version and commit are set by the linker for a release; otherwise Go's own
// build information is used.
var version, commit string

type versionView struct {
	Version string  `json:"version"`
	Commit  *string `json:"commit"`
	Go      string  `json:"go"`
	OS      string  `json:"os"`
	Arch    string  `json:"arch"`
	Format  string  `json:"format"`
}

func thisVersion() versionView {
	v := versionView{Version: version, Commit: orNull(commit), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Format: record.APIVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v.Commit == nil {
			v.Commit = orNull(s.Value)
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
	}
	return v
}

func newVersionCmd(app *App) *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which version of jit this is",
		GroupID: groupAdmin,
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			return app.Print(out, v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "jit %s (%s, %s/%s, records %s)\n", v.Version, v.Go, v.OS, v.Arch, v.Format)
				return err
			})
		},
	}
	out.add(cmd, []string{"version", "commit", "go", "os", "arch", "format"})
	return shows(cmd)
}
