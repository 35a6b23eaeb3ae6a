// Package topic is Amazon SNS without its protocol: topics, subscriptions and fan-out to queues.
//
// A published message is checked, deduplicated (FIFO topics, five minutes), given an ID and a sequence number, and
// delivered to every subscription whose filter policy matches, before the publish returns. Deliveries happen under one
// lock, so all FIFO queues of a FIFO topic get the messages of a group in the same order, the order of publishing.
// A message that cannot be delivered goes to the subscription's dead-letter queue or, as on AWS, is lost.
//
// Copies that are delivered raw share one content in memory, however many queues they stand in.
//
// Only SQS subscriptions exist here; another protocol is refused.
package topic
