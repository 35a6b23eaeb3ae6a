// Package provision creates a topology on an endpoint by plain SNS and SQS calls, and finds one that is there.
//
// [Apply] is for the local environment and for tests; in AWS the CDK app creates the same. It may be called again: what
// exists with the same properties stays, and what exists with others is an error that names the resource.
//
// [Start] gives a test an environment of its own on a local engine.
//
// [Find] looks a deployment up by its names, wherever it was created.
package provision
