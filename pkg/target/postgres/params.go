package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jitaccess/jit/pkg/target"
)

// Names of a role's parameters in the policy.
const (
	paramGrant      = "grant"
	paramLogin      = "create-login"
	paramLimit      = "connection-limit"
	paramSuperuser  = "allow-superuser"
	paramPredefined = "allow-predefined"
)

// Bounds on the connections of a login that jit makes. Without any, one person could
// take up all that the server has (100 unless it is set otherwise), and jit could not log
// in to end the access.
const (
	// defaultLimit is enough for a client with a few windows, or a small pool.
	defaultLimit = 10
	// maxLimit is what a server takes in practice; more is a slip of the pen.
	maxLimit = 1000
)

// Names of the settings in the reconciler's configuration.
const (
	settingHost     = "host"
	settingPort     = "port"
	settingDatabase = "database"
	settingUser     = "user"
	settingPassword = "password-file"
	settingSSLMode  = "sslmode"
	settingSSLRoot  = "sslrootcert"
)

// Describe says what the driver does and takes.
func Describe() target.Description {
	return target.Description{
		Name:    "postgres",
		Summary: "grants and takes the membership of a PostgreSQL role",
		Params: []target.Parameter{
			{Name: paramGrant, Required: true, Doc: "the role whose membership is granted, such as orders_readonly"},
			{Name: paramLogin, Doc: `"true": jit makes the person's login where there is none, and removes it at the end; it has no password`},
			{Name: paramLimit, Doc: fmt.Sprintf("how many connections a login that jit makes may have at once; %d when left out", defaultLimit)},
			{Name: paramSuperuser, Doc: `"true": the role or the person's login may be a superuser, or may bypass row security, replicate or make roles`},
			{Name: paramPredefined, Doc: "PostgreSQL's own roles (pg_…) that the granted role may be or belong to, separated by commas; pg_signal_backend never"},
		},
		Settings: []target.Parameter{
			{Name: settingHost, Required: true, Doc: "the folder of the server's socket, which others may not write to, or its host name"},
			{Name: settingPort, Doc: "5432 when left out"},
			{Name: settingDatabase, Doc: "where jit connects to; postgres when left out. Roles are the same in all databases of a server"},
			{Name: settingUser, Required: true, Doc: "the login that jit uses, and that nobody else uses"},
			{Name: settingPassword, Secret: true, Doc: "a file that holds the password of that login and that only its owner can read; without one, none is sent"},
			{Name: settingSSLMode, Doc: "verify-full (when left out), verify-ca, require or disable; not used on a socket"},
			{Name: settingSSLRoot, Doc: "a file of the authorities that the server's certificate is checked against; the system's when left out"},
		},
		Account:      "the person's PostgreSQL login; their name in the policy where there is no entry",
		Backstop:     "none for a membership; a login that jit made carries VALID UNTIL, which ends password logins only",
		EndsSessions: "all sessions of the login, in all databases, unless another open grant or standing access gives the same role",
	}
}

// params are a role's parameters, judged.
type params struct {
	grant      string
	login      bool
	limit      int // connections of a login that jit makes
	superuser  bool
	predefined []string
}

// Validate judges a role's parameters, and the account where it is not empty.
func Validate(given map[string]string, account string) error {
	p, err := parseParams(given)
	if err != nil {
		return err
	}
	// Not judged by parseParams: what is open by an earlier policy must end.
	if slices.Contains(p.predefined, signaller) {
		return &target.ParamError{Param: paramPredefined, Problem: fmt.Sprintf("%s %s", signaller, whySignaller), Hint: "leave it out, and grant a role that does not belong to it"}
	}
	if account == "" {
		return nil
	}
	return checkAccount(account)
}

func parseParams(given map[string]string) (params, error) {
	var p params
	err := target.CheckParams(Describe().Params, given)
	if err != nil {
		return p, err
	}
	if p.login, err = target.ParseFlag(given, paramLogin); err != nil {
		return p, err
	}
	if p.limit, err = parseLimit(given); err != nil {
		return p, err
	}
	if p.superuser, err = target.ParseFlag(given, paramSuperuser); err != nil {
		return p, err
	}
	if text, ok := given[paramPredefined]; ok {
		for name := range strings.SplitSeq(text, ",") {
			name = strings.TrimSpace(name)
			if !strings.HasPrefix(name, "pg_") {
				return p, &target.ParamError{Param: paramPredefined, Problem: fmt.Sprintf("%q is not one of PostgreSQL's own roles: their names begin with pg_", name)}
			}
			p.predefined = append(p.predefined, name)
		}
	}
	p.grant = given[paramGrant]
	if problem := checkName(p.grant); problem != "" {
		return p, &target.ParamError{Param: paramGrant, Problem: problem}
	}
	if strings.HasPrefix(p.grant, "pg_") && !slices.Contains(p.predefined, p.grant) {
		hint := "grant a role made for the purpose"
		if p.grant != signaller {
			hint += fmt.Sprintf(", or name it: %s: %q", paramPredefined, p.grant)
		}
		return p, &target.ParamError{Param: paramGrant, Problem: fmt.Sprintf("%q is one of PostgreSQL's own roles", p.grant), Hint: hint}
	}
	return p, nil
}

func parseLimit(given map[string]string) (int, error) {
	text, ok := given[paramLimit]
	if !ok {
		return defaultLimit, nil
	}
	refuse := func(problem string) (int, error) {
		return 0, &target.ParamError{Param: paramLimit, Problem: problem}
	}
	n, err := strconv.Atoi(text)
	switch {
	case given[paramLogin] != "true":
		return refuse(fmt.Sprintf("is for logins that jit makes, and %s is not \"true\"", paramLogin))
	case err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != text:
		return refuse(fmt.Sprintf("%q is not a number from 1 to %d", text, maxLimit))
	}
	return n, nil
}

func checkAccount(account string) error {
	problem := checkName(account)
	if problem == "" && strings.HasPrefix(account, "pg_") {
		problem = fmt.Sprintf("%q is one of PostgreSQL's own roles", account)
	}
	if problem != "" {
		return &target.ParamError{Param: target.ParamAccount, Problem: problem, Hint: "name the person's PostgreSQL login under accounts in the policy"}
	}
	return nil
}

// maxName is the longest name of a role in bytes: NAMEDATALEN less one. The
// server cuts longer ones short, and so would mean another role.
const maxName = 63

// checkName says why name cannot be the name of a role; "" when it can.
func checkName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("%q is longer than %d bytes, and PostgreSQL would cut it short", name, maxName)
	case !utf8.ValidString(name):
		return fmt.Sprintf("%q is not UTF-8", name)
	case strings.ContainsRune(name, 0):
		return fmt.Sprintf("%q holds a zero byte", name)
	case name == "public", name == "none":
		// Means everybody, or nobody, even in quotes.
		return fmt.Sprintf("%q is reserved by PostgreSQL", name)
	}
	return ""
}
