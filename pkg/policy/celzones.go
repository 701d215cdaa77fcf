package policy

import (
	"regexp"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// CEL's own functions take a zone from the machine: from its files, and from wherever
// the environment says. What is here takes it from this program, as schedules do, so
// that the same records give the same answer on all machines.

// clockFunction is one that reads a part of a time. Without a zone it is CEL's own.
type clockFunction struct {
	name string
	// own are the overloads that take no zone, and zoned is the one that does.
	own   []string
	zoned string
	read  func(time.Time) int
}

var clockFunctions = []clockFunction{
	{overloads.TimeGetFullYear, []string{overloads.TimestampToYear}, overloads.TimestampToYearWithTz, time.Time.Year},
	{overloads.TimeGetMonth, []string{overloads.TimestampToMonth}, overloads.TimestampToMonthWithTz, func(t time.Time) int { return int(t.Month()) - 1 }},
	{overloads.TimeGetDayOfYear, []string{overloads.TimestampToDayOfYear}, overloads.TimestampToDayOfYearWithTz, func(t time.Time) int { return t.YearDay() - 1 }},
	{overloads.TimeGetDayOfMonth, []string{overloads.TimestampToDayOfMonthZeroBased}, overloads.TimestampToDayOfMonthZeroBasedWithTz, func(t time.Time) int { return t.Day() - 1 }},
	{overloads.TimeGetDate, []string{overloads.TimestampToDayOfMonthOneBased}, overloads.TimestampToDayOfMonthOneBasedWithTz, time.Time.Day},
	{overloads.TimeGetDayOfWeek, []string{overloads.TimestampToDayOfWeek}, overloads.TimestampToDayOfWeekWithTz, func(t time.Time) int { return int(t.Weekday()) }},
	{overloads.TimeGetHours, []string{overloads.TimestampToHours, overloads.DurationToHours}, overloads.TimestampToHoursWithTz, time.Time.Hour},
	{overloads.TimeGetMinutes, []string{overloads.TimestampToMinutes, overloads.DurationToMinutes}, overloads.TimestampToMinutesWithTz, time.Time.Minute},
	{overloads.TimeGetSeconds, []string{overloads.TimestampToSeconds, overloads.DurationToSeconds}, overloads.TimestampToSecondsWithTz, time.Time.Second},
	{overloads.TimeGetMilliseconds, []string{overloads.TimestampToMilliseconds, overloads.DurationToMilliseconds}, overloads.TimestampToMillisecondsWithTz, func(t time.Time) int { return t.Nanosecond() / int(time.Millisecond) }},
}

func clockFunctionNames() []string {
	names := make([]string, 0, len(clockFunctions))
	for _, f := range clockFunctions {
		names = append(names, f.name)
	}
	return names
}

// subset is what is taken of CEL's own function.
func (f clockFunction) subset() *env.Function {
	s := &env.Function{Name: f.name}
	for _, id := range f.own {
		s.Overloads = append(s.Overloads, &env.Overload{ID: id})
	}
	return s
}

// option adds the overload that takes a zone.
func (f clockFunction) option() cel.EnvOption {
	return cel.Function(f.name, cel.MemberOverload(f.zoned, []*cel.Type{types.TimestampType, types.StringType}, types.IntType,
		cel.BinaryBinding(func(at, in ref.Val) ref.Val {
			t, isTime := at.(types.Timestamp)
			name, isText := in.(types.String)
			zone, ok := conditionZone(string(name))
			if !isTime || !isText || !ok {
				return types.NewErr("%v is no time zone", in)
			}
			return types.Int(f.read(t.In(zone)))
		})))
}

// offsetForm is a distance from UTC.
var offsetForm = regexp.MustCompile(`^([+-]?)([01]?[0-9]|2[0-3]):([0-5][0-9])$`)

// conditionZone gives the zone that a condition names: one that a schedule could name,
// or a distance from UTC.
func conditionZone(name string) (*time.Location, bool) {
	m := offsetForm.FindStringSubmatch(name)
	if m == nil {
		zone := compileZone(name, func(string, string, string, ...any) {})
		return zone, zone != nil
	}
	hours, _ := strconv.Atoi(m[2]) // the form has seen that both are numbers
	minutes, _ := strconv.Atoi(m[3])
	east := (hours*60 + minutes) * 60
	if m[1] == "-" {
		east = -east
	}
	return time.FixedZone("", east), true
}
