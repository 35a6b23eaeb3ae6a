// Package wire speaks the protocols of SQS and SNS: it decodes requests, lets the packages queue and topic do the work,
// and encodes what they answer.
//
// There are three protocols, told apart by the request:
//
//   - SQS in JSON 1.0: header X-Amz-Target, on any path. What all current SDKs speak.
//   - SQS in the Query protocol: a form, or GET with a query string, on "/" or on a queue's URL; answers are XML.
//   - SNS in the Query protocol.
//
// A request belongs to SQS or SNS by its Version, by the service it is signed for, or by its action. Signatures and
// credentials are not checked. A QueueUrl may have any host, or be just the queue's name; the URLs that are given out
// have the host that the client used.
//
// Every action is declared once, as a struct of what it takes, a struct of what it gives, and a method of [Handler].
// Tags on the fields say where each stands in JSON, in a form and in XML. Only the answer to a receive, by far the
// largest and most frequent, is encoded by hand.
//
// Errors come from the rooms below as codes and texts. This package adds what a protocol knows: the HTTP status, the
// JSON type with its namespace, the header x-amzn-query-error. Whatever a request contains, it gets an answer in the
// shape of its protocol.
//
// Two pages are not AWS's: GET /_fanout/health, and GET /_fanout/status with what the queues hold, which message
// groups are locked, which requests there were and what AWS would bill for them.
package wire
