// Package aws has what every caller of Amazon SNS and SQS needs once: what an error means ([VerdictOf]), how long to wait before the
// next attempt ([Backoff]), and which answer belongs to which entry of a batch ([Answers]). It knows the SDK, and neither of the two
// services' clients; the batch requests of SQS are in package consumers/internal/batch.
//
// Importers name it awsx, since most of them import the SDK's package aws as well.
package aws
