package policy

import "errors"

// Code is the stable name of a reason for which the policy, or the standing of
// a request, refuses something.
type Code string

// The codes. A machine may compare them; they are never renamed.
const (
	// What a request may be refused for.
	UnknownPerson    Code = "unknown-person"
	UnknownResource  Code = "unknown-resource"
	UnknownRole      Code = "unknown-role"
	NoRule           Code = "no-rule"
	TooLong          Code = "too-long"
	PendingTooLong   Code = "pending-too-long"
	ReasonMissing    Code = "reason-missing"
	ReasonPattern    Code = "reason-pattern"
	TicketPattern    Code = "ticket-pattern"
	NobodyCanApprove Code = "nobody-can-approve"
	Backdated        Code = "backdated"

	RuleDenies       Code = "rule-denies"
	TooFarAhead      Code = "too-far-ahead"
	OutsideHours     Code = "outside-hours"
	NeverOpen        Code = "never-open"
	TooManyOpen      Code = "too-many-open"
	TooManyInRole    Code = "too-many-in-role"
	CoolingOff       Code = "cooling-off"
	ConflictingRoles Code = "conflicting-roles"
	NoEmergency      Code = "no-emergency"
	EmergencyUnpaid  Code = "emergency-unacknowledged"
	NotExtendable    Code = "not-extendable"
	ExtendsTooLong   Code = "extends-too-long"
	ExtendsAlready   Code = "extends-already"
	ExtendsTooOften  Code = "extends-too-often"
	PastUnknown      Code = "past-unknown"
	// What somebody has left in the store, whatever the rules say.
	TooManyWaiting  Code = "too-many-waiting"
	InputMissing    Code = "input-missing"
	InputUnknown    Code = "input-unknown"
	InputBad        Code = "input-bad"
	ConditionFailed Code = "condition-failed"
	ConditionError  Code = "condition-error" // a condition that could not be judged

	// What a decision may be refused for.
	OwnRequest   Code = "own-request"
	NotApprover  Code = "not-approver"
	StageNotOpen Code = "stage-not-open"
	WrongDigest  Code = "wrong-digest"
	Widens       Code = "widens"
	AfterEnd     Code = "after-end"
	Lapsed       Code = "lapsed"
	BasisChanged Code = "basis-changed"
	HeadTooOld   Code = "head-too-old"
	NotRequester Code = "not-requester"
	NotAllowed   Code = "not-allowed"
	NoSuchRecord Code = "no-such-record"
	Withdrawn    Code = "withdrawn"
	CountedOnce  Code = "counted-once"
	KeyVoid      Code = "key-compromised"
	KeyRetired   Code = "key-revoked"
	SignerLeft   Code = "signer-left"
	NotYet       Code = "not-yet"
	AlreadyOpen  Code = "already-open"

	EscalationNotDue Code = "escalation-not-due"
	StageExpired     Code = "stage-expired"
	Excluded         Code = "excluded"
	Locked           Code = "locked"

	// What a lock, or the lifting of one, may be refused for. NotAdmin is below.
	NoSuchKey     Code = "no-such-key"
	AlreadyLocked Code = "already-locked"
	LastAdmins    Code = "last-admins"
	OwnLock       Code = "own-lock"
	NotLocked     Code = "not-locked"

	// What a delegation, or its end, may be refused for.
	NoDelegation      Code = "no-delegation"
	SelfDelegation    Code = "self-delegation"
	NotDelegate       Code = "not-delegate"
	DelegationTooLong Code = "delegation-too-long"
	DelegationEnded   Code = "delegation-ended"
	AlreadyDelegated  Code = "already-delegated"

	TooManyRecords     Code = "too-many-records"
	TooManyDelegations Code = "too-many-delegations"

	// What a policy version may be refused for.
	BadPolicy        Code = "bad-policy"
	TooManyProposals Code = "too-many-proposals"
	NotAdmin         Code = "not-admin"
	NotReplacing     Code = "not-replacing"
	AlreadyInForce   Code = "already-in-force"
	AdminsUnknown    Code = "admins-unknown"
)

// Refusal is why the policy or the standing of a request refuses something.
type Refusal struct {
	Code Code
	// Rule is the name of the rule that refuses, where one does.
	Rule string
	// Message says what was refused and why; Hint what to do next.
	Message, Hint string
}

// Error gives the message.
func (r *Refusal) Error() string { return r.Message }

// CodeOf gives the code of the refusal that err holds, or "".
func CodeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}
