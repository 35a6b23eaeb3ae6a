// Package before holds data that an earlier version has left behind: databases, spools, journals, archives, dead-letter records and
// files of settings. Its tests open each with the code of today and go on with it. It has no code of its own.
//
// README.md says what is in testdata, which commit made it and how. These files are never changed; what a later version writes
// otherwise is added beside them.
package before
