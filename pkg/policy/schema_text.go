package policy

// What the schema says beside the names and types of the fields: what each means,
// the forms of its values, and what must stand together. A test holds this table to
// the types.

// schemaField is what is said of one field.
type schemaField struct {
	text string
	// form is that of the value; in lists and maps, of what is in them.
	form map[string]any
	// keys is the form of a map's keys.
	keys map[string]any
	// least is how many entries a list or map must have, within how many each list
	// of a map must.
	least, within int
}

// The forms of values.
var (
	formName        = map[string]any{"type": "string", "pattern": nameForm.String()}
	formGlob        = map[string]any{"type": "string", "pattern": globForm.String()}
	formPrincipal   = map[string]any{"type": "string", "pattern": "^((group|team|department|roster):)?[a-z0-9._*-]{1,128}$"}
	formEntitlement = map[string]any{"type": "string", "pattern": "^[a-z0-9._*-]{1,128}:[a-z0-9._*-]{1,128}$"}
	formFingerprint = map[string]any{"type": "string", "pattern": "^[0-9A-F]{40}$"}
	formDuration    = map[string]any{"type": "string", "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2}
	formTime        = map[string]any{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}
	formDate        = map[string]any{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
	formHours       = map[string]any{"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}
	formDay         = oneOfWords("mon", "tue", "wed", "thu", "fri", "sat", "sun")
	formCount       = map[string]any{"minimum": 1}
	formLimit       = map[string]any{"minimum": 0}
	formText        = map[string]any{"minLength": 1}
	formPattern     = map[string]any{"maxLength": maxPatternText} // of RE2: the format "regex" is that of JavaScript
)

func oneOfWords(words ...string) map[string]any {
	return map[string]any{"type": "string", "enum": words}
}

const (
	textPrincipals = " Each is a name, a glob (ops-*), group:NAME, team:NAME, department:NAME or roster:NAME."
	textApprovers  = textPrincipals + " Or, by whom is concerned: manager, managers-manager, team-lead, owner."
)

var schemaFields = map[string]schemaField{
	"Body.admins":      {text: "The people whose agreement changes this policy."},
	"Body.people":      {text: "Everybody who may sign records, by name.", keys: formName},
	"Body.groups":      {text: "Lists of people, by name: group:NAME in a rule.", keys: formName, form: formName, within: 1},
	"Body.teams":       {text: "What is said of a team beside who is in it. A team exists where a person names it.", keys: formName},
	"Body.rosters":     {text: "Who has a duty when, by name: roster:NAME in a rule.", keys: formName, within: 1},
	"Body.schedules":   {text: "Hours and days, by name, for a rule's askDuring and useDuring.", keys: formName},
	"Body.delegation":  {text: "Whether approvers may let others act for them. Without it they may not."},
	"Body.reconcilers": {text: "The machines that open and end access, by name.", keys: formName},
	"Body.resources":   {text: "What access is restricted to, by name.", keys: formName},
	"Body.conflicts":   {text: "Entitlements of which nobody may hold two at once."},
	"Body.rules":       {text: "Who may get what under which terms. Read from the top: the first rule that matches resource, role and requester decides.", least: 1},

	"Admins.people":    {text: "Their names, as under people.", form: formName, least: 1},
	"Admins.threshold": {text: "How many admins must agree: at least 1, 2 is better.", form: formCount},

	"Person.name":       {text: "The full name, for showing."},
	"Person.email":      {text: "The address, for showing and for commits."},
	"Person.keys":       {text: "Full fingerprints of the person's keys: upper case, no spaces.", least: 1},
	"Person.teams":      {text: "The teams that the person is in.", form: formName},
	"Person.department": {text: "The department that the person works for: department:NAME in a rule.", form: formName},
	"Person.manager":    {text: "The name of whom the person reports to: manager in a rule.", form: formName},
	"Person.accounts":   {text: "Who the person is on targets, by the name of the driver. Without an entry it is the person's name.", keys: formName, form: formText},

	"Team.leads": {text: "The names of those who lead the team: team-lead in a rule.", form: formName, least: 1},

	"Shift.from":   {text: "When the shift begins, in UTC: 2026-11-23T08:00:00Z."},
	"Shift.until":  {text: "When the shift ends, in UTC."},
	"Shift.people": {text: "The names of those who have the duty.", form: formName, least: 1},

	"Delegation.longest": {text: "How long a delegation may last, at most 366d."},
	"Delegation.to":      {text: "To whom duties may be given; everybody in the policy where it is left out." + textPrincipals, form: formPrincipal},

	"Reconciler.keys":      {text: "Full fingerprints of the machine's keys.", least: 1},
	"Reconciler.resources": {text: "The names of the resources that it opens and ends.", form: formName, least: 1},

	"Resource.driver":      {text: "What kind of target it is: postgres, authorized-keys or another driver.", form: formName},
	"Resource.description": {text: "What it is, for showing."},
	"Resource.labels":      {text: "What rules can ask about it, such as sensitivity: high.", keys: formName, form: formName},
	"Resource.owners":      {text: "Who owns it: owner among a rule's approvers." + textPrincipals, form: formPrincipal},
	"Resource.freshness":   {text: "How old the newest evidence that the store is the true one may be for access to open. Without it none is asked for."},
	"Resource.lease":       {text: "How long open access lasts without such evidence. Without it that is the whole window."},
	"Resource.trace":       {text: "required: access opens only when the signed intent has come back from the store.", form: oneOfWords(TraceRequired)},
	"Resource.roles":       {text: "The ways to use it, by name.", keys: formName, least: 1},

	"Role.description": {text: "What one may do with it, for showing."},
	"Role.parameters":  {text: "What the role means on the target, in the driver's own words. Numbers stand in quotes."},
	"Role.usage":       {text: "How to use the access; shown once it is open."},

	"Conflict.name":    {text: "Its name, for messages.", form: formName},
	"Conflict.between": {text: "Two or more entitlements, RESOURCE:ROLE, each part a name or a glob.", form: formEntitlement, least: 2},

	"Rule.name":           {text: "Its name, shown to people; different for each rule.", form: formName},
	"Rule.resources":      {text: `The resources: names or globs; "*" for all.`, form: formGlob, least: 1},
	"Rule.roles":          {text: `The roles: names or globs; "*" for all.`, form: formGlob, least: 1},
	"Rule.labels":         {text: "Labels that the resource must have, all of them; the values are names or globs.", keys: formName, form: formGlob},
	"Rule.requesters":     {text: "Who may ask." + textPrincipals, form: formPrincipal, least: 1},
	"Rule.maxDuration":    {text: "The longest window that may be asked for: 4h."},
	"Rule.maxTotal":       {text: "The longest that access lasts with all extensions. Without it there are none."},
	"Rule.maxAhead":       {text: "How far ahead a start may lie: 30d where it is left out, at most 90d."},
	"Rule.maxOpen":        {text: "How many requests under the rule one person may have open or waiting at once. Without it there is no limit.", form: formLimit},
	"Rule.maxOpenPerRole": {text: "How many requests for one role all people together may have open or waiting at once. Without it there is no limit.", form: formLimit},
	"Rule.coolingOff":     {text: "How long after the end of access the same person may ask for the same again."},
	"Rule.pending":        {text: "How long a request waits for its decision before it lapses: 24h where it is left out, at most 90d."},
	"Rule.requires":       {text: "What a request must say."},
	"Rule.askDuring":      {text: "The name of the schedule in which one may ask.", form: formName},
	"Rule.useDuring":      {text: "The name of the schedule in which access is open.", form: formName},
	"Rule.conditions":     {text: "Expressions that must all be true."},
	"Rule.emergency":      {text: "Who gets access at once under the rule, to be looked at afterwards."},
	"Rule.partial":        {text: "true: what this rule grants opens while the rest of a bundle is not granted."},
	"Rule.exclude":        {text: "Who may not approve: reports (of the requester), managers (of the requester), delegates (who act for somebody else).", form: oneOfWords(ExcludeReports, ExcludeManagers, ExcludeDelegates)},
	"Rule.approve":        {text: "auto: nobody need agree. deny: nobody gets it. Left out where there are stages.", form: oneOfWords(ApproveAuto, ApproveDeny)},
	"Rule.message":        {text: "What the person sees who is denied."},
	"Rule.stages":         {text: "Who must agree, one stage after the other. A person counts once over all stages, and never for themselves."},

	"Requires.reason": {text: "A regular expression (RE2) that the whole reason must match.", form: formPattern},
	"Requires.ticket": {text: "A regular expression (RE2) that the whole ticket must match.", form: formPattern},
	"Requires.inputs": {text: "Further values that a request must say, by name.", keys: formName},

	"Input.type":        {text: "What kind of value it is.", form: oneOfWords("text", "number", "choice", "boolean")},
	"Input.description": {text: "What it is for, shown where it is asked."},
	"Input.optional":    {text: "true: it may be left out."},
	"Input.pattern":     {text: "For text: a regular expression (RE2) that the whole must match.", form: formPattern},
	"Input.min":         {text: "For a number: the least."},
	"Input.max":         {text: "For a number: the most."},
	"Input.choices":     {text: "For a choice: what it is between.", form: formText},

	"Condition.expr":    {text: "An expression (CEL) that gives true or false.", form: formText},
	"Condition.message": {text: "What the person is told where it is false.", form: formText},

	"Emergency.requesters":    {text: "Who gets it." + textPrincipals, form: formPrincipal, least: 1},
	"Emergency.maxDuration":   {text: "The longest window of an emergency; no longer than the rule's."},
	"Emergency.acknowledge":   {text: "Within what time somebody must look at it, after it opened."},
	"Emergency.acknowledgers": {text: "Who may; the approvers of the rule's stages where it is left out." + textApprovers, form: formPrincipal},
	"Emergency.repeat":        {text: "true: a person whose last emergency is not acknowledged may have another."},

	"Stage.approvers": {text: "Who may approve." + textApprovers, form: formPrincipal, least: 1},
	"Stage.count":     {text: "How many of them must approve.", form: formCount},
	"Stage.allOf":     {text: "Several quorums, all of which must be met.", least: 1},
	"Stage.anyOf":     {text: "Several quorums, one of which must be met.", least: 1},
	"Stage.escalate":  {text: "Further people who may decide when the stage has waited. The earlier ones still may."},
	"Stage.expire":    {text: "How long after it began the stage can be met. Without it, as long as the request waits."},

	"Quorum.approvers": {text: "Who may approve." + textApprovers, form: formPrincipal, least: 1},
	"Quorum.count":     {text: "How many of them must approve.", form: formCount},

	"Escalation.after": {text: "How long after the stage began."},
	"Escalation.to":    {text: "Who may decide from then on." + textApprovers, form: formPrincipal, least: 1},

	"Schedule.zone":   {text: "A time zone: Europe/Berlin, or UTC.", form: formText},
	"Schedule.days":   {text: "The days on which the hours begin; every day where it is left out.", form: formDay},
	"Schedule.hours":  {text: "Spans of a day: 08:00-18:00. One that ends at or before its beginning ends on the next day. The whole day where it is left out.", form: formHours},
	"Schedule.freeze": {text: "Dates on which nothing is allowed."},

	"Freeze.from":   {text: "The first day, in the schedule's zone: 2026-12-20.", form: formDate},
	"Freeze.until":  {text: "The last day.", form: formDate},
	"Freeze.reason": {text: "Why, for messages."},
}

// schemaRules say what must stand together in one definition.
var schemaRules = map[string]map[string]any{
	"Rule": {
		"if": with("approve", map[string]any{"const": ApproveDeny}),
		"then": map[string]any{
			"required": []string{"message"},
			"properties": map[string]any{
				"stages": map[string]any{"maxItems": 0}, "conditions": map[string]any{"maxItems": 0}, "exclude": map[string]any{"maxItems": 0},
				"emergency": false, "maxDuration": false, "maxTotal": false, "maxAhead": false, "coolingOff": false, "pending": false,
				"requires": false, "askDuring": false, "useDuring": false,
			},
		},
		"else": map[string]any{
			"required":   []string{"maxDuration"},
			"properties": map[string]any{"message": false},
			"oneOf": []any{
				map[string]any{"required": []string{"approve"}, "properties": map[string]any{"stages": map[string]any{"maxItems": 0}}},
				map[string]any{"required": []string{"stages"}, "properties": map[string]any{"approve": false, "stages": map[string]any{"minItems": 1}}},
			},
		},
	},
	"Stage": {
		"oneOf": []any{
			map[string]any{"required": []string{"approvers", "count"}, "properties": map[string]any{"allOf": false, "anyOf": false}},
			map[string]any{"required": []string{"allOf"}, "properties": map[string]any{"approvers": false, "count": false, "anyOf": false}},
			map[string]any{"required": []string{"anyOf"}, "properties": map[string]any{"approvers": false, "count": false, "allOf": false}},
		},
	},
	"Input": {
		"if":   with("type", map[string]any{"const": "choice"}),
		"then": map[string]any{"required": []string{"choices"}},
	},
}

// with is true of an object that has a key with such a value.
func with(key string, value map[string]any) map[string]any {
	return map[string]any{"required": []string{key}, "properties": map[string]any{key: value}}
}
