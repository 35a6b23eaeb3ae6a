"""Uses SNS and SQS through boto3, and prints a line for each thing that works. AWS_ENDPOINT_URL says where."""

import json
import os

import boto3
from botocore.exceptions import ClientError

endpoint = os.environ["AWS_ENDPOINT_URL"]  # boto3 before 1.28 does not read it
sns = boto3.client("sns", endpoint_url=endpoint)
sqs = boto3.client("sqs", endpoint_url=endpoint)


def check(what, got, want):
    if got != want:
        raise SystemExit(f"{what}: got {got!r}, want {want!r}")


def queue(name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def receive(url, **options):
    return sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"], **options
    ).get("Messages", [])


def bodies(messages):
    return [(m["Attributes"]["MessageGroupId"], m["Body"]) for m in messages]


def delete(url, messages):
    for m in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])


def send(url, body, group="g", dedup=None):
    return sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup or body)


topic = sns.create_topic(Name="t.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
url, arn = queue("all.fifo")
power_url, power_arn = queue("power.fifo")
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=power_arn, Attributes={
    "RawMessageDelivery": "true", "FilterPolicy": json.dumps({"type": ["power"]}),
})
published = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
    {
        "Id": str(i), "Message": body, "MessageGroupId": group, "MessageDeduplicationId": f"event-{i}",
        "MessageAttributes": {"type": {"DataType": "String", "StringValue": kind}, "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"}},
    }
    for i, (group, body, kind) in enumerate([("lamp", 'on "ü" <&>', "power"), ("lamp", "off", "power"), ("door", "open", "contact")])
])
check("published", (len(published["Successful"]), published["Failed"]), (3, []))
got = receive(url)
check("received", bodies(got), [("lamp", 'on "ü" <&>'), ("lamp", "off"), ("door", "open")])
check("attributes", got[0]["MessageAttributes"]["raw"]["BinaryValue"], b"\0\xff")
delete(url, got)
print("fan-out: three messages of two groups, in order, raw, with attributes")

got = receive(power_url)
check("filtered", bodies(got), [("lamp", 'on "ü" <&>'), ("lamp", "off")])
delete(power_url, got)
print("filter policy: what does not match is not there")

first, second = send(url, "m", dedup="d"), send(url, "other", dedup="d")
check("sequence numbers", second["SequenceNumber"], first["SequenceNumber"])
got = receive(url)
check("received", bodies(got), [("g", "m")])
delete(url, got)
print("deduplication: the second is answered like the first and not stored")

send(url, "1")
held = receive(url)
send(url, "2")
check("received while one is in flight", receive(url), [])
delete(url, held)
got = receive(url, WaitTimeSeconds=1)
check("received", bodies(got), [("g", "2")])
delete(url, got)
print("group lock: nothing while a message is in flight, the next after its delete")

out = sqs.send_message_batch(QueueUrl=url, Entries=[
    {"Id": "bad", "MessageBody": "\x01", "MessageGroupId": "g", "MessageDeduplicationId": "bad"},
    {"Id": "good", "MessageBody": "good", "MessageGroupId": "g", "MessageDeduplicationId": "good"},
])
check("failed", [(f["Id"], f["Code"], f["SenderFault"]) for f in out["Failed"]], [("bad", "InvalidMessageContents", True)])
check("sent", [s["Id"] for s in out["Successful"]], ["good"])
delete(url, receive(url))
print("partial batch: one failed, one sent")

dlq, dlq_arn = queue("dlq.fifo")
source, _ = queue("source.fifo", RedrivePolicy=json.dumps({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": 2}))
send(source, "poison")
for _ in range(2):
    check("received", bodies(receive(source, VisibilityTimeout=0)), [("g", "poison")])
check("received a third time", receive(source), [])
dead = receive(dlq, VisibilityTimeout=0)
check("dead", bodies(dead), [("g", "poison")])
sqs.start_message_move_task(SourceArn=dlq_arn)
check("task", sqs.list_message_move_tasks(SourceArn=dlq_arn)["Results"][0]["Status"], "COMPLETED")
got = receive(source)
check("brought back", bodies(got), [("g", "poison")])
delete(source, got)
print("dead letters: moved after two receives, and brought back by a move task")

try:
    sqs.get_queue_url(QueueName="none.fifo")
    raise SystemExit("a missing queue was found")
except sqs.exceptions.QueueDoesNotExist as e:
    check("code", e.response["Error"]["Code"], "AWS.SimpleQueueService.NonExistentQueue")
try:
    sns.publish(TopicArn=topic + "x", Message="m")
    raise SystemExit("a missing topic was found")
except sns.exceptions.NotFoundException as e:
    check("text", e.response["Error"]["Message"], "Topic does not exist")
except ClientError as e:
    raise SystemExit(f"a missing topic: got {e}")
print("errors: a missing queue and a missing topic have their own types")
