package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Bounds of what a report repeats of a run's own words, so that its size is bounded too.
const (
	maxText       = 1000 // bytes of any one text
	maxEvidence   = 40   // lines of a violation
	maxLine       = 400  // bytes of a line of evidence
	maxViolations = 100
	maxEvidenced  = 25  // violations that have all of their evidence
	maxRows       = 400 // of any table
)

// clip cuts s to at most n bytes between characters, and says how much is missing.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + fmt.Sprintf("… (%d more bytes)", len(s)-cut)
}

// count is n with its thousands set apart.
func count(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// figure is f without digits that say nothing.
func figure(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return count(int(f))
	}
	if math.Abs(f) >= 100 {
		return count(int(math.Round(f)))
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// took is d in three digits, or by the second from a minute on.
func took(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'g', 3, 64) + " s"
	case d >= time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'g', 3, 64) + " ms"
	default:
		return strconv.FormatFloat(float64(d)/1e3, 'g', 3, 64) + " µs"
	}
}

// percent of a part; never "0 %" or "100 %" of what is only nearly so.
func percent(part, all int) string {
	if all == 0 || part == 0 {
		return ""
	}
	p := 100 * float64(part) / float64(all)
	switch {
	case part == all:
		return "100 %"
	case p < 0.01:
		return "< 0.01 %"
	case p > 99.99:
		return "> 99.99 %"
	default:
		return strconv.FormatFloat(p, 'f', 2, 64) + " %"
	}
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") {
		return count(n) + " " + one[:len(one)-1] + "ies"
	}
	return count(n) + " " + one + "s"
}

// verdicts says what each of a summary's verdicts means.
var verdicts = map[string]string{
	"passed":   "Nothing that was checked is broken, and every floor was reached.",
	"violated": "At least one invariant is broken. The evidence is below.",
	"invalid":  "The run shows nothing: it did less than it must to count.",
}

// faultTexts says what each kind of fault is.
var faultTexts = map[string]string{
	trace.FaultKill:    "a worker's process gets SIGKILL",
	trace.FaultPause:   "a worker's process gets SIGSTOP, and SIGCONT later",
	trace.FaultCut:     "a worker is cut off from the store",
	trace.FaultCutIn:   "a worker hears nothing from the store",
	trace.FaultCutOut:  "the store hears nothing from a worker",
	trace.FaultDelay:   "messages between a worker and the store take longer",
	trace.FaultMember:  "a member of the cluster gets SIGKILL, and is started again",
	trace.FaultLeader:  "the leader of the cluster gets SIGKILL, and is started again",
	trace.FaultCompact: "the store's history is compacted",
	trace.FaultRevoke:  "an operator revokes a worker's lease",
	trace.FaultStart:   "a worker's process started",
	trace.FaultExit:    "a worker's process ended as it was told",
}

// outcomeTexts says what each end of a guarded call means.
var outcomeTexts = map[string]string{
	trace.OK:         "the tool ran and succeeded",
	trace.Replayed:   "answered with the recorded result",
	trace.Duplicate:  "blocked: it is done",
	trace.InProgress: "blocked: it is running",
	trace.InDoubt:    "blocked: it is in doubt",
	trace.Failed:     "blocked: it failed for good",
	trace.Omitted:    "blocked: its result is not recorded",
	trace.Running:    "refused: its owner is alive",
	trace.NotFound:   "there is no such call",
	trace.Invalid:    "refused as invalid",
	trace.Fenced:     "the tool ran, another worker had taken the call over",
	trace.Unrecorded: "the tool ran, its outcome could not be recorded",
	trace.NotStarted: "the tool was certainly not run",
	trace.ToolFailed: "the tool's own error",
	trace.Unknown:    "not known",
}

// didTexts says what each answer of the world means.
var didTexts = map[string]string{
	trace.Done:    "the effect happened",
	trace.Known:   "the token was known: the first answer again, no effect",
	trace.Refused: "the fence was too old: no effect",
	trace.Denied:  "refused, as the workload asked for: no effect",
	trace.Asked:   "a reconciliation asked whether it happened",
}

// bound is the number of effects that one run of a call may have, by its policy
// and world; 0 where it is one and one more per takeover, -1 where nothing is known of it.
func bound(policy, world string) (n int, text string) {
	known := map[string]bool{"retry": true, "block": true, "reconcile": true}[policy]
	switch {
	case policy == "block", known && world == trace.WorldToken, policy == "reconcile" && world == trace.WorldFence:
		return 1, "at most 1"
	case known && (world == trace.WorldPlain || world == trace.WorldHold || world == trace.WorldFence):
		return 0, "1, and 1 more per takeover"
	default:
		return -1, "not known to the report; I5 checked it"
	}
}
