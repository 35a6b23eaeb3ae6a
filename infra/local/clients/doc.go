// Package clients has no code. Its tests run clients that nobody here wrote against the engine, over a socket as they would
// talk to AWS: the AWS CLI, boto3, the AWS SDK for JavaScript, sqs-consumer for Node, and in a module of its own, so that
// the root module does not need it, watermill-aws for Go. A client that is not installed is skipped, and the test says how
// to get it.
package clients
