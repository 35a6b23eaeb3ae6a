// Package provision creates a topology at an endpoint by plain SNS and SQS calls, and finds one that exists.
//
// [Apply] is for the local environment and for tests; in AWS the CDK app creates the same resources. It may be called again: a
// resource that exists with the same properties stays, and one that exists with others is an error that names it.
//
// [Start] gives a test an environment of its own on a local engine.
//
// [Find] looks a deployment up by its names, wherever it was created.
package provision
