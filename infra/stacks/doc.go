// Package stacks is the CDK app that deploys a fan-out: what a topology declares, for one environment at a time. A program of a few
// lines runs it, and the cdk command runs that program:
//
//	func main() { stacks.Main(stacks.App{Topology: declaration.Topology()}) }
//
//	npx cdk deploy --all -c env=dev
//
// Context keys: env names the environment; account and region say where it goes, if not where environments.json says; image_tag is
// the commit whose images the consumers run, needed once a service has Compute.
//
// An environment has a stack with the topic, a stack with what operations need, and a stack for every service, so that a team
// deploys its own. Stacks know each other by names alone: none exports anything, and adding a service changes none but its own.
//
// The synthesized templates are checked, and the synthesis fails where events could be lost or stalled.
package stacks
