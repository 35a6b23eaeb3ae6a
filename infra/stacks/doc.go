// Package stacks is the CDK app that deploys a fan-out: what a topology declares, for one environment at a time. A program of a few
// lines runs it, and the cdk command runs that program:
//
//	func main() { stacks.Main(stacks.App{Topology: declaration.Topology()}) }
//
//	npx cdk deploy --all -c env=dev
//
// Context keys: env names the environment; account and region say where it goes, if not where environments.json says; image_tag is
// the commit whose images run, and images names digests instead, as fanout@sha256:…, with commas between them; one of both is needed
// once something runs. With account_setup=true, account and region it makes the stacks that an account has before its first environment:
// repositories of images, and roles for whoever deploys.
//
// An environment has a stack with the topic, a stack with what operations need, and a stack for every service, so that a team
// deploys its own; where they are declared, also one each with a network, a database and the gateway. Stacks know each other by names
// and by the parameters that they publish: none exports anything, and adding a service changes none but its own.
// Every name begins with the scope of the deployment, [topology.Deployment.Scope], so that environments, and topologies of different
// names, fit into one account.
//
// # What a team adds
//
// [App] takes tags, a permissions boundary and the name of the team's own program. Its Extend gets the stacks when everything that
// the topology declares is in them, and adds to them as any CDK program does:
//
//	stacks.App{
//		Topology: declaration.Topology(),
//		Extend: func(s *stacks.Stacks) {
//			orders := s.Service("orders")
//			table := awsdynamodb.NewTable(orders.Stack, jsii.String("Table"), &awsdynamodb.TableProps{…})
//			table.GrantReadWriteData(orders.Role)
//			orders.AddEnvironment("ORDERS_TABLE", *table.TableName())
//		},
//	}
//
// # Checks
//
// The synthesized templates are checked, and the synthesis fails where events could be lost or stalled, whether this package or
// Extend is the cause: a subscription that is not raw or has no dead-letter queue, a queue that others may send to or that a second
// consumer reads, a key that SNS may not use, dead letters that are not kept for long enough. Resources that are not attached to the
// topic or to a service's queue are not looked at, nor are nested stacks.
package stacks
