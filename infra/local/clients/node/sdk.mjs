// Uses SNS and SQS through the AWS SDK for JavaScript, and prints a line for each thing that works. AWS_ENDPOINT_URL says where.
import assert from "node:assert/strict";
import * as SNS from "@aws-sdk/client-sns";
import * as SQS from "@aws-sdk/client-sqs";

const sns = new SNS.SNS({});
const sqs = new SQS.SQS({});

async function queue(name, attributes = {}) {
  const { QueueUrl } = await sqs.createQueue({ QueueName: name, Attributes: { FifoQueue: "true", ...attributes } });
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["QueueArn"] });
  return [QueueUrl, Attributes.QueueArn];
}

const receive = async (QueueUrl, options = {}) =>
  (await sqs.receiveMessage({
    QueueUrl, MaxNumberOfMessages: 10, MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"], ...options,
  })).Messages ?? [];
const bodies = (messages) => messages.map((m) => [m.Attributes.MessageGroupId, m.Body]);
const remove = (QueueUrl, messages) =>
  Promise.all(messages.map((m) => sqs.deleteMessage({ QueueUrl, ReceiptHandle: m.ReceiptHandle })));
const send = (QueueUrl, body, dedup = body) =>
  sqs.sendMessage({ QueueUrl, MessageBody: body, MessageGroupId: "g", MessageDeduplicationId: dedup });

const { TopicArn } = await sns.createTopic({ Name: "t.fifo", Attributes: { FifoTopic: "true" } });
const [url, arn] = await queue("all.fifo");
const [powerURL, powerARN] = await queue("power.fifo");
await sns.subscribe({ TopicArn, Protocol: "sqs", Endpoint: arn, Attributes: { RawMessageDelivery: "true" } });
await sns.subscribe({
  TopicArn, Protocol: "sqs", Endpoint: powerARN,
  Attributes: { RawMessageDelivery: "true", FilterPolicy: JSON.stringify({ type: ["power"] }) },
});
const bytes = new Uint8Array([0, 255]);
const published = await sns.publishBatch({
  TopicArn,
  PublishBatchRequestEntries: [["lamp", 'on "ü" <&>', "power"], ["lamp", "off", "power"], ["door", "open", "contact"]].map(
    ([group, body, kind], i) => ({
      Id: `${i}`, Message: body, MessageGroupId: group, MessageDeduplicationId: `event-${i}`,
      MessageAttributes: { type: { DataType: "String", StringValue: kind }, raw: { DataType: "Binary", BinaryValue: bytes } },
    })),
});
assert.equal(published.Successful.length, 3);
let got = await receive(url);
assert.deepEqual(bodies(got), [["lamp", 'on "ü" <&>'], ["lamp", "off"], ["door", "open"]]);
assert.deepEqual(new Uint8Array(got[0].MessageAttributes.raw.BinaryValue), bytes);
await remove(url, got);
console.log("fan-out: three messages of two groups, in order, raw, with attributes");

got = await receive(powerURL);
assert.deepEqual(bodies(got), [["lamp", 'on "ü" <&>'], ["lamp", "off"]]);
await remove(powerURL, got);
console.log("filter policy: what does not match is not there");

const first = await send(url, "m", "d");
const second = await send(url, "other", "d");
assert.equal(second.SequenceNumber, first.SequenceNumber);
got = await receive(url);
assert.deepEqual(bodies(got), [["g", "m"]]);
await remove(url, got);
console.log("deduplication: the second is answered like the first and not stored");

await send(url, "1");
const held = await receive(url);
await send(url, "2");
assert.deepEqual(await receive(url), []);
await remove(url, held);
got = await receive(url, { WaitTimeSeconds: 1 });
assert.deepEqual(bodies(got), [["g", "2"]]);
await remove(url, got);
console.log("group lock: nothing while a message is in flight, the next after its delete");

const partial = await sqs.sendMessageBatch({
  QueueUrl: url,
  Entries: ["\u0001", "good"].map((body, i) => ({ Id: `${i}`, MessageBody: body, MessageGroupId: "g", MessageDeduplicationId: `p${i}` })),
});
assert.deepEqual(partial.Failed.map((f) => [f.Id, f.Code, f.SenderFault]), [["0", "InvalidMessageContents", true]]);
assert.deepEqual(partial.Successful.map((s) => s.Id), ["1"]);
await remove(url, await receive(url));
console.log("partial batch: one failed, one sent");

const [dlq, dlqARN] = await queue("dlq.fifo");
const [source] = await queue("source.fifo", { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dlqARN, maxReceiveCount: 2 }) });
await send(source, "poison");
for (let i = 0; i < 2; i++) {
  assert.deepEqual(bodies(await receive(source, { VisibilityTimeout: 0 })), [["g", "poison"]]);
}
assert.deepEqual(await receive(source), []);
assert.deepEqual(bodies(await receive(dlq, { VisibilityTimeout: 0 })), [["g", "poison"]]);
await sqs.startMessageMoveTask({ SourceArn: dlqARN });
assert.equal((await sqs.listMessageMoveTasks({ SourceArn: dlqARN })).Results[0].Status, "COMPLETED");
got = await receive(source);
assert.deepEqual(bodies(got), [["g", "poison"]]);
await remove(source, got);
console.log("dead letters: moved after two receives, and brought back by a move task");

await assert.rejects(sqs.getQueueUrl({ QueueName: "none.fifo" }), SQS.QueueDoesNotExist);
await assert.rejects(sns.publish({ TopicArn: `${TopicArn}x`, Message: "m" }), SNS.NotFoundException);
console.log("errors: a missing queue and a missing topic have their own types");
