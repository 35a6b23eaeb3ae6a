// Consumes a FIFO queue with sqs-consumer, and tells whether every group came in order. AWS_ENDPOINT_URL says where.
import assert from "node:assert/strict";
import { SQSClient, CreateQueueCommand, SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const sqs = new SQSClient({});
const groups = 5;
const each = 40;
const { QueueUrl: queueUrl } = await sqs.send(new CreateQueueCommand({
  QueueName: "q.fifo", Attributes: { FifoQueue: "true", VisibilityTimeout: "30" },
}));
for (let n = 0; n < each; n += 10) {
  for (let g = 0; g < groups; g++) {
    await sqs.send(new SendMessageBatchCommand({
      QueueUrl: queueUrl,
      Entries: Array.from({ length: 10 }, (_, i) => ({
        Id: `${i}`, MessageBody: `${n + i}`, MessageGroupId: `g${g}`, MessageDeduplicationId: `g${g}-${n + i}`,
      })),
    }));
  }
}

const handled = {};
let total = 0;
let failed = false;
await new Promise((done, fail) => {
  const consumer = Consumer.create({
    queueUrl, sqs, batchSize: 1, waitTimeSeconds: 1, messageSystemAttributeNames: ["All"], terminateVisibilityTimeout: true,
    suppressFifoWarning: true, // one message at a time keeps the order
    handleMessage: async (message) => {
      const group = message.Attributes.MessageGroupId;
      if (group === "g3" && message.Body === "7" && !failed) {
        failed = true;
        throw new Error("not yet");
      }
      (handled[group] ??= []).push(Number(message.Body));
      total++;
      return message;
    },
  });
  consumer.on("message_processed", () => total === groups * each && consumer.stop());
  consumer.on("stopped", done);
  consumer.on("error", fail); // of SQS; a handler's error is a processing_error
  consumer.start();
});
for (let g = 0; g < groups; g++) {
  assert.deepEqual(handled[`g${g}`], Array.from({ length: each }, (_, i) => i), `group g${g}`);
}
assert.ok(failed);
console.log(`${total} messages of ${groups} groups, each group in order, one of them after a failure`);
