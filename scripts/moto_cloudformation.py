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
from moto.cloudformation.models import Change, CloudFormationBackend, Stack, cloudformation_backends
from moto.cloudformation.parsing import ResourceMap
from moto.cloudformation.responses import CloudFormationResponse
from moto.cloudformation.utils import generate_changeset_id, generate_stack_id
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ecs.models import Cluster, EC2ContainerServiceBackend
from moto.efs.models import FileSystem
from moto.iam.models import ManagedPolicy, iam_backends
from moto.kms.models import Key, kms_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import main
from moto.sns.models import sns_backends
from moto.sns.responses import SNSResponse
from moto.ssm.models import Parameter, ssm_backends
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


def _stub(resource_type):
    """A type that stacks name and nothing here looks into: it is there, with an identifier and attributes that are texts."""

    class Stub(_Extra, CloudFormationModel):
        @staticmethod
        def cloudformation_type():
            return resource_type

        @classmethod
        def has_cfn_attr(cls, attr):
            return True

        def get_cfn_attribute(self, name):
            text = f"{self.ident}.{name}"
            return f"arn:aws:stub:{self.where}:{text}" if name.endswith("Arn") else text

        @classmethod
        def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kw):
            stub = cls(resource_name.lower())
            stub.where = f"{region_name}:{account_id}"
            return stub

    return Stub


_STUBS = [_stub(t) for t in ("AWS::EC2::SecurityGroupEgress", "AWS::Logs::MetricFilter", "AWS::RDS::DBCluster", "AWS::RDS::DBInstance",
                                 "AWS::ElasticLoadBalancingV2::Listener")]


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

FileSystem.has_cfn_attr = classmethod(lambda cls, name: name == "Arn")
FileSystem.get_cfn_attribute = lambda self, name: self.file_system_arn

# 1c. managed policies go with their stack
ManagedPolicy.delete = lambda self, account_id, region_name: iam_backends[account_id]["aws"].managed_policies.pop(self.arn, None)

# 2. a type moto does not know is an error, not a skipped resource
_SKIP = {"AWS::CDK::Metadata", "AWS::S3::BucketPolicy"}
_class_from_type = parsing.resource_class_from_type


def _strict(resource_type):
    c = _class_from_type(resource_type)
    if c is None and resource_type not in _SKIP and resource_type not in parsing.NULL_MODELS:
        raise ValidationError(resource_type, f"moto has no CloudFormation support for {resource_type}")
    return c


parsing.resource_class_from_type = _strict

# 3. a resource that fails makes the stack fail, and what it had made goes again (moto answers 500; the SDK retries and then sees
#    CREATE_COMPLETE or "already exists"); what has a DeletionPolicy stays when its stack goes, and is then in the way of another
_KEPT = ("Retain", "RetainExceptOnCreate")
_delete_resource = ResourceMap._delete_resource


def _delete_unless_kept(self, parsed, resource_json):
    if resource_json.get("DeletionPolicy") not in _KEPT:
        _delete_resource(self, parsed, resource_json)


ResourceMap._delete_resource = _delete_unless_kept
_create_resource = parsing.parse_and_create_resource


def _find(resource_type, properties, account, region):
    """The resource that an identifier or the properties of a template name, or None."""
    if resource_type == "AWS::SQS::Queue":
        name = (properties.get("QueueUrl") or properties.get("QueueName") or "").split("/")[-1]
        return sqs_backends[account][region].queues.get(name)
    if resource_type == "AWS::SNS::Topic":
        name = (properties.get("TopicArn") or properties.get("TopicName") or "").split(":")[-1]
        return sns_backends[account][region].topics.get(f"arn:aws:sns:{region}:{account}:{name}")
    if resource_type == "AWS::Logs::LogGroup":
        return logs_backends[account][region].groups.get(properties.get("LogGroupName"))
    if resource_type == "AWS::KMS::Key":
        return kms_backends[account][region].keys.get(properties.get("KeyId", "").split("/")[-1])
    return None


def _create_unless_there(logical_id, resource_json, resources_map, account_id, region_name):
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources_map)
    if _find(resource_json["Type"], properties, account_id, region_name) is not None:
        raise ValidationError(logical_id, f"Resource of type '{resource_json['Type']}' named {properties} already exists.")
    return _create_resource(logical_id, resource_json, resources_map, account_id=account_id, region_name=region_name)


parsing.parse_and_create_resource = _create_unless_there


def _roll_back(stack, before, was_there):
    """Deletes what a stack has made and had not before; what is kept goes too, but for DeletionPolicy: Retain."""
    resources = stack.resource_map
    for _ in range(5):  # some want others to go first
        for name in [n for n in resources._resource_json_map if n in resources._parsed_resources and n not in was_there]:
            description = resources._resource_json_map[name]
            try:
                if description.get("DeletionPolicy") != "Retain":
                    _delete_resource(resources, resources._parsed_resources[name], description)
                del resources._parsed_resources[name]
            except Exception:  # noqa: BLE001
                pass
    stack.template = before
    if before:
        stack._parse_template()
        resources._template, resources._resource_json_map = stack.template_dict, stack.template_dict["Resources"]
    else:  # outputs that are still asked for would make their resources again
        stack.template_dict = {}
        stack.resource_map = stack._create_resource_map()
    stack.output_map = stack._create_output_map()


def _guarded(stack, created, work):
    before = None if created else stack.template
    was_there = set() if created else set(stack.resource_map._parsed_resources)
    try:
        work()
    except Exception as e:  # noqa: BLE001
        traceback.print_exc()
        stack._add_stack_event("CREATE_FAILED" if created else "UPDATE_FAILED", resource_status_reason=f"{type(e).__name__}: {e}")
        _roll_back(stack, before, was_there)
        stack.status = "ROLLBACK_COMPLETE" if created else "UPDATE_ROLLBACK_COMPLETE"
        stack._add_stack_event(stack.status)
    stack.last_updated_time = utcnow()


def _fill(stack, template, parameters, tags, exports):
    """Makes the resources of a stack that has none."""
    stack.template, stack.parameters, stack.tags, stack.cross_stack_resources = template, parameters, tags or {}, exports
    stack._parse_template()
    stack.resource_map = stack._create_resource_map()
    stack.output_map = stack._create_output_map()
    stack.create_resources()


def _create_stack(self, name, template, parameters, notification_arns=None, tags=None, role_arn=None, enable_termination_protection=False, **kw):
    if any(s.name == name for s in self.stacks.values()):
        raise ValidationError(message=f"Stack [{name}] already exists")
    stack = _empty_stack(self, name, parameters, tags)
    stack.enable_termination_protection = str(enable_termination_protection).lower() == "true"
    _guarded(stack, True, lambda: _fill(stack, template, parameters, tags, self.exports))
    return stack


def _empty_stack(self, name, parameters, tags):
    stack = Stack(generate_stack_id(name, self.region_name, self.account_id), name, {}, parameters, self.account_id, self.region_name, tags=tags)
    stack.last_updated_time = None
    self.stacks[stack.stack_id] = stack
    return stack


_update_stack = CloudFormationBackend.update_stack


def _update(self, name, *a, **kw):
    stack = self.get_stack(name)
    for c in self.change_sets.values():
        if c.stack is stack:
            c.execution_status = "OBSOLETE"
    _guarded(stack, False, lambda: _update_stack(self, name, *a, **kw))
    return stack


_delete_stack = CloudFormationBackend.delete_stack


def _delete(self, name):
    stack = next((s for s in self.stacks.values() if name in (s.name, s.stack_id)), None)
    if stack and stack.enable_termination_protection:
        raise ValidationError(message=f"Stack [{name}] cannot be deleted while TerminationProtection is enabled")
    _delete_stack(self, name)


CloudFormationBackend.create_stack, CloudFormationBackend.update_stack, CloudFormationBackend.delete_stack = _create_stack, _update, _delete


def _protect(self):
    stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
    stack.enable_termination_protection = str(self._get_param("EnableTerminationProtection")).lower() == "true"
    return ActionResult({"StackId": stack.stack_id})


CloudFormationResponse.update_termination_protection = _protect

# 3b. change sets: each belongs to a stack, says what is replaced and what is kept, is gone once one is executed, and leaves outputs
_REPLACING = {  # what a change of these properties does can't be done to a resource that is there
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SNS::Topic": ("TopicName", "FifoTopic"),
    "AWS::RDS::DBInstance": ("DBInstanceIdentifier", "DBSubnetGroupName", "StorageEncrypted", "KmsKeyId", "MasterUsername"),
    "AWS::RDS::DBCluster": ("DBClusterIdentifier", "DBSubnetGroupName", "StorageEncrypted", "KmsKeyId", "MasterUsername"),
    "AWS::EFS::FileSystem": ("Encrypted", "KmsKeyId", "PerformanceMode"),
}


class _ChangeSetNotFound(ValidationError):
    __module__ = ValidationError.__module__
    code = "ChangeSetNotFound"

    def __init__(self, name):
        super().__init__(message=f"ChangeSet [{name}] does not exist")


class _ChangeSet:
    def __init__(self, **facts):
        self.__dict__.update(facts)
        self.changes, self.status_reason, self.creation_time = [], None, utcnow()
        self.template_dict = Stack.parse_template(self.template)
        self.tags = self.tags or {}
        try:
            self.find_changes()
        except Exception as e:  # noqa: BLE001
            self.status_reason = f"{type(e).__name__}: {e}"
        if not self.changes and not self.status_reason:
            self.status_reason = "The submitted information didn't contain changes. Submit different information to create a change set."
        self.status, self.execution_status = ("FAILED", "UNAVAILABLE") if self.status_reason else ("CREATE_COMPLETE", "AVAILABLE")

    def find_changes(self):
        s, new = self.stack, self.template_dict["Resources"]
        wanted = Stack(s.stack_id, s.name, self.template, self.parameters, s.account_id, s.region_name, cross_stack_resources=s.cross_stack_resources).resource_map
        self.resolved = wanted.resolved_parameters  # fails where a parameter's parameter is not there
        old = s.resource_map._resource_json_map
        other = {k for k, v in self.resolved.items() if old and s.resource_map.resolved_parameters.get(k) != v}
        for name, r in new.items():
            change = Change("Add", name, r["Type"])
            if name in old:
                moved = {p for p in set(r.get("Properties", {})) | set(old[name].get("Properties", {})) if r.get("Properties", {}).get(p) != old[name].get("Properties", {}).get(p)}
                if r == old[name] and not other & set(parsing.get_references_from_template(r)) and not (self.revert_drift and r["Type"] == "AWS::SQS::Queue"):
                    continue
                change.action = "Modify"
                change.replacement = "True" if moved & set(_REPLACING.get(r["Type"], ())) or r["Type"] != old[name]["Type"] else "False"
                if change.replacement == "True":
                    change.policy_action = "ReplaceAndRetain" if r.get("UpdateReplacePolicy") == "Retain" else "ReplaceAndDelete"
            elif self.change_set_type == "IMPORT" or name in self.imported:
                change.action = "Import"
            self.changes.append(change)
        for name, r in old.items():
            if name not in new:
                change = Change("Remove", name, r["Type"])
                change.policy_action = "Retain" if r.get("DeletionPolicy") in _KEPT else "Delete"
                self.changes.append(change)
        for change in self.changes:
            there = s.resource_map._parsed_resources.get(change.logical_resource_id)
            change.physical_resource_id = getattr(there, "physical_resource_id", None)

    def apply(self, exports):
        s = self.stack
        if self.change_set_type == "IMPORT":
            s.template, s.parameters, s.tags = self.template, self.parameters, self.tags
            s._parse_template()
            s.resource_map = s._create_resource_map()
            for name, identifier in self.imported.items():
                r = self.template_dict["Resources"][name]
                found = _find(r["Type"], identifier, s.account_id, s.region_name)
                if found is None or r.get("DeletionPolicy") is None:
                    raise ValidationError(name, f"no {r['Type']} with {identifier} to import, or it has no DeletionPolicy")
                found.cf_resource_type, found.logical_resource_id = r["Type"], name
                s.resource_map._parsed_resources[name] = found
            missing = set(self.template_dict["Resources"]) - set(self.imported)
            if missing or self.template_dict.get("Outputs"):
                raise ValidationError(s.name, f"an import can't make {missing} or outputs")
            s.output_map = s._create_output_map()
        elif self.change_set_type == "CREATE":
            _fill(s, self.template, self.parameters, self.tags, exports)
        else:
            if self.revert_drift:
                for name, r in s.resource_map._resource_json_map.items():
                    if r["Type"] == "AWS::SQS::Queue" and self.template_dict["Resources"].get(name) == r:
                        wanted = parsing.clean_json(r["Properties"], s.resource_map)
                        s.resource_map[name]._set_attributes({k: json.dumps(v) if isinstance(v, dict) else v for k, v in wanted.items() if k not in ("QueueName", "Tags")})
            s.update(self.template, parameters=self.parameters, tags=self.tags)


def _stack_called(self, name):
    return next((s for s in self.stacks.values() if name in (s.name, s.stack_id)), None)


def _change_set_called(self, name, stack):
    for c in self.change_sets.values():
        if name == c.change_set_id or name == c.change_set_name and stack in (c.stack.name, c.stack.stack_id):
            return c
    raise _ChangeSetNotFound(name)


def _create_change_set(self):
    p, backend = self._get_param, self.cloudformation_backend
    kind, stack = p("ChangeSetType", "CREATE"), _stack_called(backend, p("StackName"))
    there = stack is not None and stack.status != "REVIEW_IN_PROGRESS"
    if kind == "UPDATE" and not there or kind == "CREATE" and there:
        raise ValidationError(p("StackName"), f"Stack [{p('StackName')}] {'already exists' if there else 'does not exist'}")
    body = p("TemplateBody") or self._get_stack_from_s3_url(p("TemplateURL"))
    tags = {t["Key"]: t["Value"] for t in p("Tags", [])}
    parameters = {
        x["ParameterKey"]: stack.parameters[x["ParameterKey"]] if str(x.get("UsePreviousValue")).lower() == "true" else x["ParameterValue"]
        for x in p("Parameters", [])
        if "ParameterValue" in x or x["ParameterKey"] in stack.parameters
    }
    if stack is None:
        stack = _empty_stack(backend, p("StackName"), parameters, tags)
        stack.status = "REVIEW_IN_PROGRESS"
    c = _ChangeSet(
        stack=stack, stack_id=stack.stack_id, stack_name=stack.name, change_set_name=p("ChangeSetName"), change_set_type=kind, template=body,
        change_set_id=generate_changeset_id(p("ChangeSetName"), backend.region_name, backend.account_id), parameters=parameters, tags=tags,
        description=p("Description"), notification_arns=[], role_arn=p("RoleARN"), revert_drift=p("DeploymentMode") == "REVERT_DRIFT",
        imported={r["LogicalResourceId"]: r["ResourceIdentifier"] for r in p("ResourcesToImport", [])},
    )
    backend.change_sets[c.change_set_id] = c
    return ActionResult({"Id": c.change_set_id, "StackId": stack.stack_id})


def _describe_change_set(self):
    return ActionResult(_change_set_called(self.cloudformation_backend, self._get_param("ChangeSetName"), self._get_param("StackName")))


def _delete_change_set(self):
    backend = self.cloudformation_backend
    try:
        del backend.change_sets[_change_set_called(backend, self._get_param("ChangeSetName"), self._get_param("StackName")).change_set_id]
    except _ChangeSetNotFound:
        pass
    return EmptyResult()


def _execute_change_set(self):
    backend = self.cloudformation_backend
    c = _change_set_called(backend, self._get_param("ChangeSetName"), self._get_param("StackName"))
    if c.execution_status != "AVAILABLE":
        raise ValidationError(c.change_set_name, f"ChangeSet [{c.change_set_id}] is in {c.execution_status} and cannot be executed")
    backend.change_sets = {k: v for k, v in backend.change_sets.items() if v.stack is not c.stack}
    created = c.change_set_type != "UPDATE"
    c.stack.status = "CREATE_IN_PROGRESS" if created else "UPDATE_IN_PROGRESS"
    _guarded(c.stack, created, lambda: c.apply(backend.exports))
    if "ROLLBACK" not in c.stack.status:
        c.stack.status = {"UPDATE": "UPDATE_COMPLETE", "CREATE": "CREATE_COMPLETE"}.get(c.change_set_type, "IMPORT_COMPLETE")
    return EmptyResult()


def _list_change_sets(self):
    name = self._get_param("StackName")
    return ActionResult({"Summaries": [c for c in self.cloudformation_backend.change_sets.values() if name in (c.stack.name, c.stack.stack_id)]})


CloudFormationResponse.create_change_set, CloudFormationResponse.describe_change_set = _create_change_set, _describe_change_set
CloudFormationResponse.delete_change_set, CloudFormationResponse.execute_change_set = _delete_change_set, _execute_change_set
CloudFormationResponse.list_change_sets = _list_change_sets

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

# 7. the current version of a secret is that with the label, however it came by it
_move_label = SecretsManagerBackend.update_secret_version_stage


def _current(self, secret_id, version_stage, remove_from_version_id, move_to_version_id):
    done = _move_label(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
    if version_stage == "AWSCURRENT" and move_to_version_id:
        self.secrets[secret_id].default_version_id = move_to_version_id
    return done


SecretsManagerBackend.update_secret_version_stage = _current

# 8. a cluster without tags is in the way of those who ask for tags
_cluster = Cluster.__init__


def _with_tags(self, *a, **kw):
    _cluster(self, *a, **kw)
    self.tags = self.tags or []


Cluster.__init__ = _with_tags

# 9. a task has ended when it is asked about: well, unless the parameter /emulated/task-fails is there
_describe_tasks = EC2ContainerServiceBackend.describe_tasks


def _ended(self, cluster_str, tasks):
    found = _describe_tasks(self, cluster_str, tasks)
    for task in found:
        task.status = task.desired_status = "STOPPED"
        for container in task.containers:
            container.exitCode = int("/emulated/task-fails" in ssm_backends[self.account_id][self.region_name]._parameters)
    return found


EC2ContainerServiceBackend.describe_tasks = _ended
EC2ContainerServiceBackend._calculate_task_resource_requirements = lambda self, definition: {}  # no machine of its own has to have room

if _IS_MAIN:
    main()
