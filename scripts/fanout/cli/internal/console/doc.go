// Package console is a web page for whoever is on call: the fan-out as a picture with its depths, what failed and why, one event with
// its history, and redriving or dropping a selection, with the plan shown first.
//
//	c := console.New(api, console.Config{Environment: "prod", Production: true, Where: "AWS eu-central-1", Services: services})
//	http.Serve(listener, c) // http://127.0.0.1:4568/?token=… lets a browser in
//
// It works through the SQS API alone, so on the local engine and on AWS alike. The pages are rendered here and kept fresh by a few
// lines of script that fetch fragments of them; without script they work too.
//
// SQS has no way to look without touching, so dead-letter queues are looked at when a page wants to know, not all the time, and what
// was seen is shown with its age. Depths cost nothing and are asked for every other second while somebody watches.
//
// Which devices are blocked only their consumers know, and which are parked only the store of their service: both are asked where the
// configuration names them, and one that does not answer is shown as such.
//
// # Who may
//
// A browser gets in with the token of the address that the command prints, and gets a session of twelve hours, which its cookie carries; an
// address that tries many wrong tokens is slowed down. What moves or deletes wants a form with a second secret, from this very origin. The host that a request names must be the one that the console was told,
// so that no other site's name can be pointed at it.
package console
