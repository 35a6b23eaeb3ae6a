// Package cli is the command line of a fan-out as a library: an app names its topology and its services, and has all commands for
// them. The program fanout is this repository's own:
//
//	func main() {
//		cli.Main(cli.App{
//			Name:     "acme",
//			Topology: declaration.Topology(),
//			Services: cli.Services{"history": cli.History, "chime": cli.OnDatabase(chime.Open)},
//			Schemas:  schemas.FS(),
//		})
//	}
//
// The event types that a program knows are those of the packages that it imports. Data goes to standard output, progress and errors
// to standard error; exit codes are listed in the help of every command.
package cli
