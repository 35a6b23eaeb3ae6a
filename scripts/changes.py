#!/usr/bin/env python3
"""What scripts/deploy does with AWS: which images are there, what would change, and the change itself.

changes.py region FOLDER         the region that the stacks in a folder go to
changes.py images FOLDER         the images that they run, as REPOSITORY@DIGEST; ends with 1 and says what to do if one is missing
changes.py plan FOLDER FILE      makes a change set for every stack that has changes, and writes them to FILE and, to be read, to FILE.md
changes.py execute FILE          executes exactly these
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

from cloud import GONE, Assembly, aws, deployed, each, stop, values, wait_for, why

# What holds events or keys, and what is lost with it.
GUARDED = {
    "AWS::SQS::Queue": "the events in it",
    "AWS::SNS::Topic": "its archive, and what is published until every subscription is new",
    "AWS::KMS::Key": "what it has encrypted",
    "AWS::RDS::DBInstance": "its data",
    "AWS::RDS::DBCluster": "its data",
    "AWS::EFS::FileSystem": "the events in its spools",
}
# A stack with nothing in it: its change set has not been executed yet, or its first creation or import has failed.
EMPTY = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "IMPORT_ROLLBACK_COMPLETE")


def images(assembly):
    """Resolves every image to its digest, and says which are missing."""
    account, region, missing = assembly.account, assembly.region, []
    for image in assembly.images:
        repository, _, digest = image.partition("@")
        repository, _, tag = repository.partition(":")
        by = {"imageDigest": digest} if digest else {"imageTag": tag}
        found = aws("ecr", "describe-images", "--repository-name", repository, "--image-ids", json.dumps([by]),
                    missing=("ImageNotFoundException", "RepositoryNotFoundException"))
        if found:
            print(f"{repository}@{found['imageDetails'][0]['imageDigest']}")
        else:
            missing.append((image, f"{account}.dkr.ecr.{region}.amazonaws.com/{repository}:{tag or 'TAG'}"))
    if missing:
        stop("nothing was changed: " + "\n".join(
            f"there is no image {image} in account {account}, region {region}. Make it from a checkout of that commit:\n"
            f"  scripts/image {url}" for image, url in missing))


class Planner:
    def __init__(self, assembly, file):
        self.assembly, self.file = assembly, file
        self.name = f"deploy-{datetime.datetime.now(datetime.timezone.utc):%Y%m%d-%H%M%S}"
        self.there = deployed()
        self.published = {p["Name"] for p in aws("ssm", "get-parameters-by-path", "--path", f"/fanout/{assembly.scope}", "--recursive")["Parameters"]}
        self.exported = None
        self.lines = []

    def exists(self, stack):
        return stack.name in self.there and self.there[stack.name]["StackStatus"] not in EMPTY

    def lacks(self, stack):
        """What a stack reads from others and they have not published yet; a change set can't be made without it."""
        wanted = [p["Default"] for p in stack.template.get("Parameters", {}).values() if p["Type"].startswith("AWS::SSM::Parameter::Value")]
        lacking = [w for w in wanted if w.startswith("/fanout/") and w not in self.published]
        imports = [v for v in values(stack.template, "Fn::ImportValue") if isinstance(v, str)]
        if imports and self.exported is None:
            self.exported = {e["Name"] for e in aws("cloudformation", "list-exports")["Exports"]}
        return lacking + [i for i in imports if i not in self.exported]

    def left(self, stack):
        """What a stack of this name has left behind when it was deleted, by logical ID, as an import wants it."""
        found, keys = {}, {}
        for id, r in stack.resources.items():
            p = r.get("Properties", {})
            if not r.get("DeletionPolicy", "").startswith("Retain"):
                continue
            key, identifier = None, None
            if r["Type"] == "AWS::SQS::Queue" and (queue := aws("sqs", "get-queue-url", "--queue-name", p["QueueName"], missing=GONE)):
                identifier = {"QueueUrl": queue["QueueUrl"]}
                if "KmsMasterKeyId" in p:
                    key = aws("sqs", "get-queue-attributes", "--queue-url", queue["QueueUrl"], "--attribute-names", "KmsMasterKeyId").get("Attributes", {}).get("KmsMasterKeyId")
            elif r["Type"] == "AWS::SNS::Topic":
                arn = f"arn:{self.assembly.partition}:sns:{self.assembly.region}:{self.assembly.account}:{p['TopicName']}"
                if topic := aws("sns", "get-topic-attributes", "--topic-arn", arn, missing=GONE):
                    identifier, key = {"TopicArn": arn}, topic["Attributes"].get("KmsMasterKeyId")
            elif r["Type"] == "AWS::Logs::LogGroup":
                groups = aws("logs", "describe-log-groups", "--log-group-name-prefix", p["LogGroupName"])["logGroups"]
                if any(g["logGroupName"] == p["LogGroupName"] for g in groups):
                    identifier = {"LogGroupName": p["LogGroupName"]}
            if identifier:
                found[id] = identifier
                if key:  # the key's own ID is known by what it encrypts
                    keys[next(values(p["KmsMasterKeyId"], "Fn::GetAtt"))[0]] = {"KeyId": key.split("/")[-1]}
        return found | keys

    def plan(self):
        full, drifted, imports, later = [], [], {}, []
        new = [s for s in self.assembly.stacks if not self.exists(s)]
        remains = dict(zip([s.name for s in new], each(self.left, new)))
        for s in self.assembly.stacks:
            if self.there.get(s.name, {}).get("StackStatus") in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
                # A first creation has failed: the CDK deletes what is left of the stack, which can hold nothing, and may not while it is protected.
                aws("cloudformation", "update-termination-protection", "--no-enable-termination-protection", "--stack-name", s.name)
            if lacking := self.lacks(s):
                later.append({"name": s.name, "because": f"another stack has not published {lacking[0]} yet"})
            elif left := remains.get(s.name):
                imports[s.name] = left
                later.append({"name": s.name, "because": "what it left behind when it was deleted is adopted first"})
            elif self.there.get(s.name, {}).get("StackStatus") == "IMPORT_COMPLETE":
                drifted.append(s.id)  # what was adopted may differ from what is declared
            else:
                full.append(s.id)
        prepare = ["deploy", "--exclusively", "--method=prepare-change-set", "--change-set-name", self.name, "--require-approval", "never", "--concurrency", "4"]
        if full:
            self.cdk(*prepare, *full)
        if drifted:
            self.cdk(*prepare, "--revert-drift", *drifted)
        for name, left in imports.items():
            id = next(s.id for s in self.assembly.stacks if s.name == name)
            self.cdk("import", "--no-execute", "--force", "--change-set-name", self.name, "--resource-mapping-inline", json.dumps(left), id)
        waiting = {entry["name"] for entry in later} - set(imports)
        refused = []
        self.there = deployed()
        planned = [s for s in self.assembly.stacks if s.name not in waiting]
        sets = each(self.change_set, planned)
        if failed := [f"{s.name}: no change set can be made: {c['StatusReason']}" for s, c in zip(planned, sets) if c and c["Status"] == "FAILED"]:
            self.withdraw(sets)
            stop("nothing was changed: " + "\n".join(failed))
        stacks = [self.describe(s, c, refused) for s, c in zip(planned, sets)]
        for entry in later:
            self.say(f"- `{entry['name']}` can be planned once this is deployed: {entry['because']}")
        if refused and not os.environ.get("ALLOW_REPLACE"):
            self.withdraw(sets)
            print("\n".join(self.lines))
            stop("refused, and nothing was changed:\n" + "\n".join(f"  {r}" for r in refused) +
                 "\nIf that is meant, say so: ALLOW_REPLACE=1, or --allow-replace.")
        plan = {"version": 1, "region": self.assembly.region, "stacks": stacks, "later": later}
        pathlib.Path(self.file).write_text(json.dumps(plan, indent=1) + "\n")
        pathlib.Path(self.file + ".md").write_text("\n".join(self.lines) + "\n")
        print("\n".join(self.lines))

    def change_set(self, stack):
        """The change set of a stack, or None where nothing changes."""
        by_name = ["--stack-name", stack.name, "--change-set-name", self.name]
        c = aws("cloudformation", "describe-change-set", *by_name, missing=("ChangeSetNotFound", "does not exist"))
        if c and c["Status"] == "FAILED" and ("didn't contain changes" in c["StatusReason"] or "No updates" in c["StatusReason"]):
            aws("cloudformation", "delete-change-set", *by_name)
            return None
        return c

    def describe(self, stack, c, refused):
        """One stack of the plan; its change set is null where nothing changes."""
        there = self.there.get(stack.name, {})
        entry = {"name": stack.name, "change_set": None, "updated": there.get("LastUpdatedTime"), "migrations": None}
        for r in stack.of_type("AWS::SSM::Parameter").values():
            if str(r["Properties"]["Name"]).endswith("/database/migrate-cluster"):
                entry["migrations"] = r["Properties"]["Name"].rsplit("/", 1)[0]
        if c is None:
            self.say(f"- `{stack.name}`: no changes")
            return entry
        entry["change_set"] = c["ChangeSetId"]
        if all(change["ResourceChange"]["Action"] == "Add" for change in c["Changes"]) and not there.get("LastUpdatedTime"):
            self.say(f"- `{stack.name}`: new, {len(c['Changes'])} resources")
            return entry
        self.say(f"- `{stack.name}`:")
        for change in c["Changes"]:
            r = change["ResourceChange"]
            what, kind, replaced = r["Action"], r["ResourceType"], r.get("Replacement", "False")
            if what == "Modify" and replaced != "False":
                what = "Replace" if replaced == "True" else "Modify, perhaps replace"
            if "PolicyAction" in r:
                what += f" ({r['PolicyAction']})"
            called = r["LogicalResourceId"] + (f" ({r['PhysicalResourceId']})" if r.get("PhysicalResourceId") else "")
            self.say(f"  - {what} {kind} `{called}`")
            if kind in GUARDED and (r["Action"] == "Remove" or r["Action"] == "Modify" and replaced != "False"):
                how = "deleted or left behind" if r["Action"] == "Remove" else "replaced" if replaced == "True" else "replaced, perhaps"
                refused.append(f"{stack.name}: {kind} {called} would be {how}, and {GUARDED[kind]} with it")
        return entry

    def withdraw(self, sets):
        each(lambda c: aws("cloudformation", "delete-change-set", "--change-set-name", c["ChangeSetId"]), [c for c in sets if c])

    def cdk(self, command, *args):
        done = subprocess.run(["cdk", command, "--app", str(self.assembly.folder), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            stop(f"cdk {command} {' '.join(args)}:\n{done.stdout}")

    def say(self, line):
        self.lines.append(line)


def execute(file):
    """Executes the change sets of a plan, all or, where one is not as it was planned, none."""
    plan = json.loads(pathlib.Path(file).read_text())
    os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = plan["region"]
    there = deployed()

    def outdated(s):
        if there.get(s["name"], {}).get("LastUpdatedTime") != s["updated"]:
            return f"{s['name']}: it was deployed since"
        if s["change_set"]:
            c = aws("cloudformation", "describe-change-set", "--change-set-name", s["change_set"], missing=("ChangeSetNotFound", "does not exist"))
            if c is None or c["ExecutionStatus"] != "AVAILABLE":
                return f"{s['name']}: its change set is {c['ExecutionStatus'].lower() if c else 'gone'}"

    if stale := [text for text in each(outdated, plan["stacks"]) if text]:
        stop("the plan is outdated, and nothing was changed; plan again:\n" + "\n".join(f"  {text}" for text in stale))
    anything = any(s["change_set"] for s in plan["stacks"])
    for s in plan["stacks"]:
        if s["change_set"]:
            print(f"{s['name']}: ", end="", flush=True)
            aws("cloudformation", "execute-change-set", "--change-set-name", s["change_set"])
            stack = wait_for(s["name"], after=there.get(s["name"]))
            status = stack["StackStatus"] if stack else "gone"
            print(status.lower().replace("_", " "), flush=True)
            if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
                stop(f"{s['name']} is {status}:\n{why(s['name'])}")
        if s["migrations"] and anything:
            migrate(s["migrations"])
    if plan["later"]:
        stop("deployed, but not all: plan again for " + ", ".join(entry["name"] for entry in plan["later"]), code=3)


def migrate(path):
    """Brings the tables up to date, before the services whose program expects that: a task for every image."""
    found = {p["Name"].removeprefix(path): p["Value"] for p in aws("ssm", "get-parameters-by-path", "--path", path, "--recursive")["Parameters"]}
    network = {"awsvpcConfiguration": {"subnets": found["/migrate-subnets"].split(","), "securityGroups": found["/migrate-security-groups"].split(","), "assignPublicIp": "DISABLED"}}
    for name, definition in sorted(found.items()):
        if not name.startswith("/migrate/"):
            continue
        print(f"migrate {name.removeprefix('/migrate/')}: ", end="", flush=True)
        run = aws("ecs", "run-task", "--cluster", found["/migrate-cluster"], "--task-definition", definition, "--launch-type", "FARGATE",
                  "--started-by", "scripts/deploy", "--network-configuration", json.dumps(network))
        if not run["tasks"]:
            stop(f"the migration can't start: {run['failures']}")
        arn = run["tasks"][0]["taskArn"]
        while not (stopped := [t for t in aws("ecs", "describe-tasks", "--cluster", found["/migrate-cluster"], "--tasks", arn)["tasks"] if t["lastStatus"] == "STOPPED"]):
            time.sleep(3)
        task, container = stopped[0], stopped[0]["containers"][0]
        if container.get("exitCode") != 0:
            log = aws("ecs", "describe-task-definition", "--task-definition", definition)["taskDefinition"]["containerDefinitions"][0]["logConfiguration"]["options"]
            reason = container.get("reason") or task.get("stoppedReason", "")
            stop(f"the migration failed with {container.get('exitCode', 'no exit code')} {reason}: no service was changed. Its log:\n"
                 f"  aws logs tail {log['awslogs-group']} --log-stream-names {log['awslogs-stream-prefix']}/{container['name']}/{arn.split('/')[-1]}")
        print("done", flush=True)


def main(command, folder, file=""):
    if command == "execute":
        return execute(folder)
    assembly = Assembly(folder)
    if command == "region":
        return print(assembly.region)
    os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = assembly.region
    images(assembly) if command == "images" else Planner(assembly, file).plan()


if __name__ == "__main__":
    main(*sys.argv[1:])
