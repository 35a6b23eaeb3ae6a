package doctor

import (
	"cmp"
	"slices"
)

// Severity says how bad a finding is.
type Severity string

const (
	Error   Severity = "error"   // events are lost, stand still or are disordered, or will be
	Warning Severity = "warning" // not as declared, or somebody should look
	Note    Severity = "note"    // worth knowing; nothing is wrong
)

// rank puts the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Note}, s) }

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code is the kind of finding, in words with underscores; it keeps its meaning.
	Code     string `json:"code"`
	Service  string `json:"service,omitempty"` // whose resource it is
	Resource string `json:"resource"`          // its name; an ARN where it has none
	// Attribute is what of the resource it is about, Is its value and Want the declared one. They are empty where it is about the whole.
	Attribute string `json:"attribute,omitempty"`
	Is        string `json:"is,omitempty"`
	Want      string `json:"want,omitempty"`
	// Text says what is wrong and what comes of it, Advice what to do, and Commands how: shell commands that work as they stand.
	Text     string   `json:"text"`
	Advice   string   `json:"advice,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Unseen is a part that could not be looked at.
type Unseen struct {
	Part   string `json:"part"` // in words with underscores
	Reason string `json:"reason"`
	Advice string `json:"advice,omitempty"`
}

// Report is what doctor says.
type Report struct {
	Environment string `json:"environment"`
	Account     string `json:"account,omitempty"`
	Region      string `json:"region"`
	Caller      string `json:"caller,omitempty"` // the ARN of whoever looked
	// Deployed says whether anything of the environment is there.
	Deployed bool      `json:"deployed"`
	Findings []Finding `json:"findings"` // the worst first
	Unseen   []Unseen  `json:"unseen"`
	Counts   Counts    `json:"counts"`
}

// Counts are the numbers of findings.
type Counts struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
}

// Well tells whether nothing was found but notes, in what could be looked at.
func (r Report) Well() bool { return r.Counts.Errors+r.Counts.Warnings == 0 }

// Complete tells whether everything could be looked at.
func (r Report) Complete() bool { return len(r.Unseen) == 0 }

// finish sorts and counts.
func (r Report) finish() Report {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Counts.Errors++
		case Warning:
			r.Counts.Warnings++
		case Note:
			r.Counts.Notes++
		}
	}
	return r
}
