#!/usr/bin/env python3
"""moto server with the CloudFormation gaps of moto 5.2.1 filled for an SNS/SQS fan-out app, and its races on queues.

usage: python3 moto_cloudformation.py -H 127.0.0.1 -p PORT   (same flags as moto_server; needs moto[server] 5.2.1)

With it, `cdk bootstrap` and `cdk deploy` work without an AWS account.
"""
import json
import threading
import time
import traceback

import moto.cloudformation.parsing as parsing
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.kms.models import Key
from moto.server import main
from moto.sns.models import sns_backends
from moto.sns.responses import SNSResponse
from moto.ssm.models import Parameter
from moto.sqs.models import Queue, SQSBackend, sqs_backends


_IS_MAIN = __name__ == "__main__"
__name__ = "moto.cfnextra.models"  # moto's metaclass takes the service name from the module path


class _Extra:
    """Shared parts of the added types."""

    def __init__(self, ident):
        self.ident = ident

    @property
    def physical_resource_id(self):
        return self.ident

    @staticmethod
    def cloudformation_name_type():
        return ""

    @classmethod
    def has_cfn_attr(cls, attr):
        return attr == "Arn"

    def get_cfn_attribute(self, name):
        return self.ident

    @classmethod
    def update_from_cloudformation_json(cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name):
        cls.delete_from_cloudformation_json(original_resource.ident, cloudformation_json, account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name):
        pass


def _attr(v):
    return json.dumps(v) if isinstance(v, (dict, list)) else v


class SnsSubscription(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::SNS::Subscription"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        b = sns_backends[account_id][p["TopicArn"].split(":")[3]]
        topic = b.get_topic(p["TopicArn"])
        if p["Protocol"] == "sqs":
            q = sqs_backends[account_id][p["Endpoint"].split(":")[3]].get_queue(p["Endpoint"].split(":")[-1])
            if "RedrivePolicy" in p:
                dlq = sqs_backends[account_id][region_name].get_queue(p["RedrivePolicy"]["deadLetterTargetArn"].split(":")[-1])
                if bool(topic.fifo_topic) != bool(dlq.fifo_queue):
                    raise ValidationError("subscription DLQ type must match the topic type")
        s = b.subscribe(p["TopicArn"], p["Endpoint"], p["Protocol"])
        for k in ("FilterPolicyScope", "FilterPolicy", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"):
            if k in p:
                v = p[k]
                if k == "RawMessageDelivery":
                    v = v if isinstance(v, bool) else str(v).lower() == "true"
                else:
                    v = _attr(v)
                b.set_subscription_attributes(s.arn, k, v)
        return cls(s.arn)

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name):
        sns_backends[account_id][region_name].unsubscribe(resource_name)


class SnsTopicPolicy(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::SNS::TopicPolicy"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        for arn in p["Topics"]:
            sns_backends[account_id][region_name].get_topic(arn).policy = json.dumps(p["PolicyDocument"])
        return cls(resource_name)


class SqsQueuePolicy(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        for url in p["Queues"]:
            sqs_backends[account_id][region_name].get_queue(url.split("/")[-1]).policy = json.dumps(p["PolicyDocument"])
        return cls(resource_name)


class CwAlarm(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::CloudWatch::Alarm"

    @staticmethod
    def cloudformation_name_type():
        return "AlarmName"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        a = cloudwatch_backends[account_id][region_name].put_metric_alarm(
            name=resource_name,
            namespace=p.get("Namespace"),
            metric_name=p.get("MetricName"),
            comparison_operator=p["ComparisonOperator"],
            evaluation_periods=p["EvaluationPeriods"],
            period=p.get("Period"),
            threshold=p.get("Threshold"),
            statistic=p.get("Statistic"),
            description=p.get("AlarmDescription"),
            dimensions=p.get("Dimensions", []),
            alarm_actions=p.get("AlarmActions", []),
            ok_actions=p.get("OKActions", []),
            datapoints_to_alarm=p.get("DatapointsToAlarm"),
            treat_missing_data=p.get("TreatMissingData"),
        )
        r = cls(resource_name)
        r.arn = a.alarm_arn
        return r

    def get_cfn_attribute(self, name):
        return self.arn

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name):
        cloudwatch_backends[account_id][region_name].delete_alarms([resource_name])


class ScalableTarget(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::ApplicationAutoScaling::ScalableTarget"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        applicationautoscaling_backends[account_id][region_name].register_scalable_target(
            p["ServiceNamespace"], p["ResourceId"], p["ScalableDimension"], p["MinCapacity"], p["MaxCapacity"], p.get("RoleARN", ""), ""
        )
        return cls("|".join((p["ResourceId"], p["ScalableDimension"], p["ServiceNamespace"])))


class ScalingPolicy(_Extra, CloudFormationModel):
    @staticmethod
    def cloudformation_type():
        return "AWS::ApplicationAutoScaling::ScalingPolicy"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
        p = cloudformation_json["Properties"]
        rid, dim, ns = (p["ScalingTargetId"].split("|") if "ScalingTargetId" in p else (p["ResourceId"], p["ScalableDimension"], p["ServiceNamespace"]))
        body = p.get("TargetTrackingScalingPolicyConfiguration") or p.get("StepScalingPolicyConfiguration")
        applicationautoscaling_backends[account_id][region_name].put_scaling_policy(p["PolicyName"], ns, rid, dim, body, p["PolicyType"])
        return cls(p["PolicyName"])


# 1. KMS keys with tags: moto hands CloudFormation's Key/Value pairs to code that wants TagKey/TagValue
_key_create = Key.create_from_cloudformation_json.__func__


def _key(cls, resource_name, cloudformation_json, *a, **kw):
    p = cloudformation_json["Properties"]
    p["Tags"] = [{"TagKey": t["Key"], "TagValue": t["Value"]} if "Key" in t else t for t in p.get("Tags", [])]
    if not isinstance(p["KeyPolicy"], str):
        p["KeyPolicy"] = json.dumps(p["KeyPolicy"])
    return _key_create(cls, resource_name, cloudformation_json, *a, **kw)


Key.create_from_cloudformation_json = classmethod(_key)

# 1b. SSM parameter tags are a map in CloudFormation
_ssm_create = Parameter.create_from_cloudformation_json.__func__


def _ssm(cls, resource_name, cloudformation_json, *a, **kw):
    t = cloudformation_json["Properties"].get("Tags")
    if isinstance(t, dict):
        cloudformation_json["Properties"]["Tags"] = [{"Key": k, "Value": v} for k, v in t.items()]
    return _ssm_create(cls, resource_name, cloudformation_json, *a, **kw)


Parameter.create_from_cloudformation_json = classmethod(_ssm)

# 2. a type moto does not know is an error, not a skipped resource
_SKIP = {"AWS::CDK::Metadata", "AWS::S3::BucketPolicy"}
_class_from_type = parsing.resource_class_from_type


def _strict(resource_type):
    c = _class_from_type(resource_type)
    if c is None and resource_type not in _SKIP and resource_type not in parsing.NULL_MODELS:
        raise ValidationError(resource_type, f"moto has no CloudFormation support for {resource_type}")
    return c


parsing.resource_class_from_type = _strict

# 3. a resource that fails makes the stack fail (moto answers 500; the SDK retries and then sees
#    CREATE_COMPLETE or "already exists")
def _guard(name, find):
    inner = getattr(CloudFormationBackend, name)

    def call(self, *a, **kw):
        try:
            return inner(self, *a, **kw)
        except Exception as e:  # noqa: BLE001
            st = find(self, *a, **kw)
            if st is None:
                raise
            traceback.print_exc()
            st.status = "ROLLBACK_COMPLETE" if "CREATE" in str(st.status) or "REVIEW" in str(st.status) else "UPDATE_ROLLBACK_COMPLETE"
            st._add_stack_event(st.status, resource_status_reason=f"{type(e).__name__}: {e}")
            return st

    setattr(CloudFormationBackend, name, call)


def _by_name(self, name=None, *a, **kw):
    return next((s for s in self.stacks.values() if s.name == name and s.status != "CREATE_COMPLETE"), None)


_guard("create_stack", _by_name)
_guard("update_stack", lambda self, name=None, *a, **kw: next((s for s in self.stacks.values() if s.name == name), None))
_guard("execute_change_set", lambda self, change_set_name, *a, **kw: self.stacks[self.describe_change_set(change_set_name).stack_id])

# 4. Fn::GetStackOutput: the CDK's weak cross-stack references
_clean = parsing.clean_json


def _clean_json(rj, rm):
    if isinstance(rj, dict) and "Fn::GetStackOutput" in rj:
        a = rj["Fn::GetStackOutput"]
        name, key = _clean(a["StackName"], rm), a["OutputName"]
        b = cloudformation_backends[rm._account_id][a.get("Region", rm._region_name)]
        for st in b.stacks.values():
            if st.name == name or st.stack_id == name:
                for o in st.outputs or []:
                    if o["OutputKey"] == key:
                        return o["OutputValue"]
        raise ValidationError(name, f"no output {key} in stack {name}")
    return _clean(rj, rm)


parsing.clean_json = _clean_json

# 5. one request after the other to the queues: moto's receives that run side by side share out the messages of one group, so that
#    nobody can keep their order, and deliver some of them twice; its deletes lose messages that are sent at the same moment
_queues_lock = threading.RLock()


def _in_turn(name):
    inner = getattr(SQSBackend, name)

    def call(self, *a, **kw):
        with _queues_lock:
            return inner(self, *a, **kw)

    setattr(SQSBackend, name, call)


for _name in ("send_message", "delete_message", "change_message_visibility"):
    _in_turn(_name)

_receive = SQSBackend.receive_message


def _receive_in_turn(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
    until = time.monotonic() + wait_seconds_timeout
    while True:
        with _queues_lock:
            found = _receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
        if found or time.monotonic() >= until:
            return found
        time.sleep(0.1)


SQSBackend.receive_message = _receive_in_turn

# 6. attributes that moto keeps and does not show, and a queue's policy, which it forgets when another attribute is set
_queue_attributes = Queue.attributes.fget


def _shown(self):
    found = _queue_attributes(self)
    if getattr(self, "redrive_allow_policy", None):
        found["RedriveAllowPolicy"] = _attr(self.redrive_allow_policy)
    return found


Queue.attributes = property(_shown)
_set_queue_attributes = Queue._set_attributes


def _set_and_keep_policy(self, attributes, now=None):
    _set_queue_attributes(self, {"Policy": getattr(self, "policy", None), **attributes}, now)


Queue._set_attributes = _set_and_keep_policy
_get_topic_attributes = SNSResponse.get_topic_attributes


def _topic_attributes(self):
    out = _get_topic_attributes(self)
    topic = self.backend.get_topic(self._get_param("TopicArn"))
    for name, attribute in (("FifoThroughputScope", "fifo_throughput_scope"), ("ArchivePolicy", "archive_policy")):
        if getattr(topic, attribute, None):
            out.result["Attributes"][name] = _attr(getattr(topic, attribute))
    return out


SNSResponse.get_topic_attributes = _topic_attributes

if _IS_MAIN:
    main()
